//! How each fault is inflicted: it is begun, lasts, is healed, and reports whether it has struck. A
//! fault that struck nothing shows nothing.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use hookbox_testkit::chance::Chance;
use hookbox_testkit::servers::process::wait_until;

use crate::fault::{Fault, Fault::*, Part, pause};
use crate::proxy::{Mode, Proxy, Snap};
use crate::scenario::STOP_MAX;
use crate::servers::Servers;
use crate::sql::HeldLock;
use crate::world::World;

/// AMQP's `basic.publish`: class 60, method 40, and a first short that is always zero.
const PUBLISH: &[u8] = &[0, 60, 0, 40, 0, 0];

/// How the body of every event begins that the load sends.
const BODY: &[u8] = br#"{"uid":""#;

/// How often a trap springs. One connection after the other: what was not sent on the first is sent
/// again on the next.
const SPRINGS: u64 = 3;

/// How long a lease in SQLite lasts that is not renewed.
const LEASE: Duration = Duration::from_secs(15);

/// In milliseconds. Work comes in for so long; and what is in flight at a running worker is done
/// after it, so that what is taken still is the frozen one's.
const SETTLED: u64 = 1_500;

/// In milliseconds. What came in for [`SETTLED`] takes longer than this.
const AT_WORK: u64 = 60;

/// How often it is tried to freeze a worker that has something in flight.
const FREEZES: u32 = 20;

/// Which workers there are.
const WORKERS: [&str; 2] = ["worker 1", "worker 2"];

/// A fault that lasts.
pub struct ActiveFault {
    fault: Fault,
    since: Instant,
    /// Which process, where it is of one.
    service: &'static str,
    /// What had been counted before.
    before: u64,
    /// Whether it has struck already.
    struck: bool,
    held: Option<HeldLock>,
}

impl Fault {
    /// Breaks, waits and heals; whether it struck.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn inflict(
        self,
        world: &mut World,
        servers: &Servers,
        chance: &mut Chance,
    ) -> Result<bool> {
        let begun = self.begin(world, servers, chance)?;
        begun.last(world)?;
        begun.heal(world, servers)
    }

    /// Breaks.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn begin(
        self,
        world: &mut World,
        servers: &Servers,
        chance: &mut Chance,
    ) -> Result<ActiveFault> {
        let mut begun = ActiveFault {
            fault: self,
            since: Instant::now(),
            service: match self.part() {
                Part::Worker => {
                    let worker: &&str = chance.one_of(&WORKERS);
                    worker
                }
                Part::Ingest
                | Part::Broker
                | Part::LinkToBroker
                | Part::Store
                | Part::LinkToStore => "ingest 1",
            },
            before: 0,
            struck: false,
            held: None,
        };
        begun.before = begun.counted(world)?;
        let broken = begun.break_it(world, servers);
        broken.with_context(|| format!("beginning {self:?}"))?;
        begun.since = Instant::now();
        Ok(begun)
    }
}

impl ActiveFault {
    /// Lets it last as long as it is to.
    ///
    /// # Errors
    /// When what it waits for cannot be counted.
    pub fn last(&self, world: &World) -> Result<()> {
        if !self.fault.waits_for_words() {
            wait_until(self.left(), || false);
            return Ok(());
        }
        let proxy = self.proxy(world)?;
        wait_until(self.left(), || proxy.snapped() >= self.before + SPRINGS);
        Ok(())
    }

    /// The remaining time, or the longest where it waits for bytes.
    pub fn left(&self) -> Duration {
        Duration::from_millis(self.fault.lasts()).saturating_sub(self.since.elapsed())
    }

    /// Whether it ends when a process has drained.
    pub fn ends_on_request(&self) -> bool {
        matches!(self.fault, TermIngest | TermWorker)
    }

    /// For how many milliseconds ingest has stood still through it, which is longer than it was
    /// to last where another had to be healed before.
    pub fn has_held_ingest(&self) -> u64 {
        if self.fault.holds_ingest() == 0 {
            return 0;
        }
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Heals; whether it struck.
    ///
    /// # Errors
    /// When it cannot be healed.
    pub fn heal(mut self, world: &mut World, servers: &Servers) -> Result<bool> {
        let healed = self.heal_it(world, servers);
        healed.with_context(|| format!("healing {:?}", self.fault))?;
        Ok(self.struck)
    }

    fn break_it(&mut self, world: &mut World, servers: &Servers) -> Result<()> {
        match self.fault {
            KillIngest | KillWorker => self.struck = world.kill(self.service)?,
            TermIngest | TermWorker => self.signal(world, "TERM")?,
            FreezeWorker(_) if self.fault.moves_work() && !world.place.sql.is_postgres() => {
                self.freeze_with_work(world)?;
            }
            FreezeIngest(_) | FreezeWorker(_) => self.signal(world, "STOP")?,
            KillBroker => servers.rabbitmq().kill()?,
            FreezeBroker(_) => servers.rabbitmq().stop()?,
            BlockBroker(_) => {
                let words = ["set_vm_memory_high_watermark", "0.000001"];
                servers.rabbitmq().ctl(&words)?;
            }
            KillPostgres => servers.postgres().kill()?,
            FreezePostgres(_) => servers.postgres().stop()?,
            TerminateBackends => {
                let question = "select cast(count(pg_terminate_backend(pid)) as text) \
                     from pg_stat_activity where datname = current_database() \
                     and pid <> pg_backend_pid()";
                self.struck = world.place.sql.number(question)? > 0;
            }
            CutBroker | CutStore => self.struck = self.proxy(world)?.cut() > 0,
            BrokerHole(_) | StoreHole(_) => self.proxy(world)?.set(Mode::Hole),
            LoseConfirms(_) => self.proxy(world)?.set(Mode::LoseAnswers),
            LosePublishes(_) => self.proxy(world)?.set(Mode::LoseRequests),
            CutPublish => self.proxy(world)?.arm(PUBLISH, Snap::Amid, SPRINGS),
            CutBody => self.proxy(world)?.arm(BODY, Snap::Amid, SPRINGS),
            CommitUnanswered => self.proxy(world)?.arm(b"COMMIT", Snap::After, SPRINGS),
            CommitDropped => self.proxy(world)?.arm(b"COMMIT", Snap::Before, SPRINGS),
            LockStore(_) => self.held = world.place.sql.begin(lock(world))?,
            LongReader(_) => {
                self.held = world.place.sql.begin("select count(*) from events")?;
            }
        }
        Ok(())
    }

    fn heal_it(&mut self, world: &mut World, servers: &Servers) -> Result<()> {
        match self.fault {
            KillIngest | KillWorker | TerminateBackends | CutBroker | CutStore => {}
            TermIngest | TermWorker => self.has_ended(world)?,
            FreezeIngest(_) | FreezeWorker(_) => {
                let node = world.node(self.service);
                self.struck = node.is_some_and(|node| node.is_stopped());
                self.signal(world, "CONT")?;
            }
            KillBroker => {
                self.struck = true;
                servers.rabbitmq().restart()?;
            }
            FreezeBroker(_) => {
                self.struck = true;
                servers.rabbitmq().cont()?;
            }
            BlockBroker(_) => {
                let broker = servers.rabbitmq();
                let alarms = broker.ctl(&["eval", "rabbit_alarm:get_alarms()."])?;
                self.struck = alarms.contains("resource_limit");
                broker.ctl(&["set_vm_memory_high_watermark", "0.4"])?;
            }
            KillPostgres => {
                self.struck = true;
                servers.postgres().restart()?;
            }
            FreezePostgres(_) => {
                self.struck = true;
                servers.postgres().cont()?;
            }
            BrokerHole(_) | LoseConfirms(_) | LosePublishes(_) | StoreHole(_) => {
                self.struck = self.counted(world)? > self.before;
                let proxy = self.proxy(world)?;
                proxy.set(Mode::Pass);
                // What vanished leaves a stream that cannot be read further.
                proxy.cut();
            }
            CutPublish | CutBody | CommitUnanswered | CommitDropped => {
                self.struck = self.counted(world)? > self.before;
                self.proxy(world)?.disarm();
            }
            LockStore(_) | LongReader(_) => {
                self.struck = self.counted(world)? > self.before;
                if let Some(held) = self.held.take() {
                    world.place.sql.end(held)?;
                }
            }
        }
        Ok(())
    }

    /// What grows when it strikes.
    fn counted(&self, world: &World) -> Result<u64> {
        match self.fault {
            BrokerHole(_) | LoseConfirms(_) | LosePublishes(_) | StoreHole(_) => {
                Ok(self.proxy(world)?.forgotten())
            }
            CutPublish | CutBody | CommitUnanswered | CommitDropped => {
                Ok(self.proxy(world)?.snapped())
            }
            // The sessions that wait for the lock. SQLite has no list of them, and one lock for
            // all.
            LockStore(_) if world.place.sql.is_postgres() => world.place.sql.number(
                "select cast(count(*) as text) from pg_locks where not granted \
                 and relation = 'claims'::regclass",
            ),
            LockStore(_) => Ok(u64::from(self.held.is_some())),
            // What the reader does not see.
            LongReader(_) => {
                let question = "select cast(count(*) as text) from events";
                world.place.sql.number(question)
            }
            KillIngest | KillWorker | TermIngest | TermWorker | FreezeIngest(_)
            | FreezeWorker(_) | KillBroker | FreezeBroker(_) | BlockBroker(_) | CutBroker
            | KillPostgres | FreezePostgres(_) | TerminateBackends | CutStore => Ok(0),
        }
    }

    fn proxy<'a>(&self, world: &'a World) -> Result<&'a Proxy> {
        let place = &world.place;
        let proxy = match self.fault.part() {
            Part::LinkToStore => &place.to_store,
            Part::LinkToBroker | Part::Ingest | Part::Worker | Part::Broker | Part::Store => {
                &place.to_broker
            }
        };
        proxy.as_ref().context("no proxy")
    }

    /// A broker sends to a frozen worker up to its prefetch; from a file a worker takes itself,
    /// and has most of the time nothing in flight. So both stand still until there is work for
    /// them, and this one is frozen when it has begun with it, and not in the middle of a write,
    /// which would hold up all others instead.
    fn freeze_with_work(&mut self, world: &mut World) -> Result<()> {
        for _ in 0..FREEZES {
            each_worker(world, "STOP")?;
            pause(SETTLED);
            each_worker(world, "CONT")?;
            pause(AT_WORK);
            self.signal(world, "STOP")?;
            let taken_until = micros(SystemTime::now() + LEASE)?;
            let published = "select cast(max(seq) as text) from sqlite_sequence \
                 where name = 'messages'";
            let before = world.place.sql.number(published)?;
            pause(SETTLED);
            let publishes = world.place.sql.number(published)? > before;
            let held = format!(
                "select cast(count(*) as text) from messages \
                 where lease_until > {} and lease_until <= {taken_until}",
                micros(SystemTime::now())?,
            );
            if publishes && world.place.sql.number(&held)? > 0 {
                return Ok(());
            }
        }
        bail!("{} never had anything in flight", self.service)
    }

    fn signal(&mut self, world: &mut World, signal: &str) -> Result<()> {
        let node = world.node(self.service);
        node.with_context(|| format!("{} does not run", self.service))?
            .signal(signal)
    }

    /// A process that was asked to stop has drained, and ended well.
    fn has_ended(&mut self, world: &mut World) -> Result<()> {
        let node = world
            .node(self.service)
            .context("no process was asked to stop")?;
        let status = node.wait(STOP_MAX);
        ensure!(
            status.is_some(),
            "{} is still there {} s after SIGTERM",
            self.service,
            STOP_MAX.as_secs()
        );
        self.struck = true;
        Ok(())
    }
}

/// What workers of a store write, and cannot while another session has it locked.
fn lock(world: &World) -> &'static str {
    if world.place.sql.is_postgres() {
        "lock table claims in exclusive mode"
    } else {
        "create table if not exists chaos_lock (x integer) strict"
    }
}

fn each_worker(world: &mut World, signal: &str) -> Result<()> {
    for worker in WORKERS {
        let node = world.node(worker);
        node.with_context(|| format!("{worker} does not run"))?
            .signal(signal)?;
    }
    Ok(())
}

/// As a lease is kept: microseconds since the Unix epoch.
fn micros(moment: SystemTime) -> Result<u128> {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.context("the clock is before 1970")?.as_micros())
}
