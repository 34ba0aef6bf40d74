//! Inflicts faults: each is begun, lasts, and is healed. Healing returns whether the fault struck,
//! which means that it disturbed a process, a server or a connection. A case whose fault did not
//! strike shows nothing.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use hookbox_testkit::chance::Chance;
use hookbox_testkit::proxy::{Mode, Proxy, Snap};
use hookbox_testkit::servers::process::wait_until;

use crate::fault::{Fault, Fault::*, Part, pause};
use crate::scenario::STOP_MAX;
use crate::servers::Servers;
use crate::sql::HeldLock;
use crate::targets::ServiceMode;
use crate::world::World;

/// The beginning of `basic.publish` in AMQP: class 60, method 40, and two reserved zero bytes.
const PUBLISH: &[u8] = &[0, 60, 0, 40, 0, 0];

/// The beginning of the body of every event that the load sends.
const BODY: &[u8] = br#"{"uid":""#;

/// The number of connections that a trap of the proxy cuts, one after the other. If it cut only
/// one, the fault would soon be over, because the client sends the same bytes again on its next
/// connection.
const SPRINGS: u64 = 3;

/// The time for which a message on SQLite is leased when the worker does not renew its lease.
const LEASE: Duration = Duration::from_secs(15);

/// The duration, in milliseconds, of each of two waits. During the first, both workers are stopped
/// and events arrive. During the second, one worker is frozen, and the running worker settles its
/// own messages. Messages that are leased after that belong to the frozen worker.
const SETTLED: u64 = 1_500;

/// The time in milliseconds from the resumption of both workers to the freeze of one of them. It is
/// too short to process all the events that arrived within [`SETTLED`].
const AT_WORK: u64 = 60;

/// How many times a worker is frozen at most, until it is frozen while it has messages in flight.
const FREEZES: u32 = 20;

/// The names of the worker processes.
const WORKERS: [&str; 2] = ["worker 1", "worker 2"];

/// A fault that has begun and is not healed yet.
pub struct ActiveFault {
    fault: Fault,
    since: Instant,
    /// The name of the process that the fault affects. For a fault of a server or a connection the
    /// name is not used.
    service: &'static str,
    /// What the function `counted` returned before the fault. After a fault that struck, the
    /// function returns more.
    before: u64,
    /// Whether the fault has struck.
    struck: bool,
    held: Option<HeldLock>,
}

impl Fault {
    /// Begins the fault, lets it last, and heals it. Returns whether it struck.
    ///
    /// # Errors
    /// When the fault cannot be begun or healed.
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

    /// Begins the fault, and returns it so that the caller can heal it.
    ///
    /// # Errors
    /// When the fault cannot be begun.
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
                | Part::LinkToStore
                | Part::Target => "ingest 1",
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
    /// Waits until the fault has lasted for its duration.
    ///
    /// # Errors
    /// When the fault needs a proxy, and none is in front of that server.
    pub fn last(&self, world: &World) -> Result<()> {
        if !self.fault.waits_for_words() {
            wait_until(self.left(), || false);
            return Ok(());
        }
        let proxy = self.proxy(world)?;
        wait_until(self.left(), || proxy.snapped() >= self.before + SPRINGS);
        Ok(())
    }

    /// Returns the remaining time of the fault. A fault that cuts connections at the bytes of a
    /// publish or of a commit may end earlier, namely when it has cut [`SPRINGS`] connections.
    pub fn left(&self) -> Duration {
        Duration::from_millis(self.fault.lasts()).saturating_sub(self.since.elapsed())
    }

    /// Returns whether the fault ends only when a process has drained after SIGTERM.
    pub fn ends_on_request(&self) -> bool {
        matches!(self.fault, TermIngest | TermWorker)
    }

    /// Returns for how many milliseconds the ingest process was stopped. This is longer than the
    /// duration of the fault if another fault was healed first.
    pub fn has_held_ingest(&self) -> u64 {
        if self.fault.holds_ingest() == 0 {
            return 0;
        }
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Heals the fault, and returns whether it struck.
    ///
    /// # Errors
    /// When the fault cannot be healed.
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
            RefuseCalls(_) => world.targets.set(ServiceMode::Down),
            IgnoreCalls(_) => world.targets.set(ServiceMode::Unresponsive),
            FailCalls(_) => world
                .targets
                .set(ServiceMode::Declining("503 Service Unavailable")),
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
                // The open connections have lost bytes in the middle of their streams. They are
                // cut, because their two ends would misread each other.
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
            RefuseCalls(_) => {
                // A refused connection is not counted, because the service never gets it. So the
                // fault is assumed to have struck.
                self.struck = true;
                world.targets.set(ServiceMode::Well);
            }
            IgnoreCalls(_) | FailCalls(_) => {
                self.struck = self.counted(world)? > self.before;
                world.targets.set(ServiceMode::Well);
            }
        }
        Ok(())
    }

    /// Returns a count that grows when the fault strikes.
    fn counted(&self, world: &World) -> Result<u64> {
        match self.fault {
            BrokerHole(_) | LoseConfirms(_) | LosePublishes(_) | StoreHole(_) => {
                Ok(self.proxy(world)?.forgotten())
            }
            CutPublish | CutBody | CommitUnanswered | CommitDropped => {
                Ok(self.proxy(world)?.snapped())
            }
            // On PostgreSQL, a lock strikes when sessions wait for it, so those sessions are
            // counted. SQLite has no list of waiting connections. But every writer waits for the
            // one write lock of the file, so on SQLite the fault counts as struck when it holds
            // this lock.
            LockStore(_) if world.place.sql.is_postgres() => world.place.sql.number(
                "select cast(count(*) as text) from pg_locks where not granted \
                 and relation = 'claims'::regclass",
            ),
            LockStore(_) => Ok(u64::from(self.held.is_some())),
            // A reader holds an old snapshot only if events were committed after it took the
            // snapshot. So the stored events are counted.
            LongReader(_) => {
                let question = "select cast(count(*) as text) from events";
                world.place.sql.number(question)
            }
            IgnoreCalls(_) | FailCalls(_) => Ok(world.targets.requests()),
            KillIngest | KillWorker | TermIngest | TermWorker | FreezeIngest(_)
            | FreezeWorker(_) | KillBroker | FreezeBroker(_) | BlockBroker(_) | CutBroker
            | KillPostgres | FreezePostgres(_) | TerminateBackends | CutStore | RefuseCalls(_) => {
                Ok(0)
            }
        }
    }

    fn proxy<'a>(&self, world: &'a World) -> Result<&'a Proxy> {
        let place = &world.place;
        let proxy = match self.fault.part() {
            Part::LinkToStore => &place.to_store,
            Part::LinkToBroker
            | Part::Ingest
            | Part::Worker
            | Part::Broker
            | Part::Store
            | Part::Target => &place.to_broker,
        };
        proxy.as_ref().context("the server has no proxy in front")
    }

    /// Freezes a worker on a SQLite file while it has messages in flight. Such a worker leases its
    /// messages itself, and most of the time it has none. (RabbitMQ delivers messages even to a
    /// frozen worker.) Therefore both workers are stopped until events have arrived. Then both
    /// resume, and one is frozen soon after. It must not be frozen in the middle of a write,
    /// because it would then block all other processes.
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
        bail!(
            "{} must be frozen while it has a message in flight, but never had one then",
            self.service
        )
    }

    fn signal(&mut self, world: &mut World, signal: &str) -> Result<()> {
        let node = world.node(self.service);
        node.with_context(|| format!("{} does not run", self.service))?
            .signal(signal)?;
        Ok(())
    }

    /// Waits until a process has drained and ended after SIGTERM.
    fn has_ended(&mut self, world: &mut World) -> Result<()> {
        let node = world
            .node(self.service)
            .context("no process was asked to stop")?;
        let status = node.wait(STOP_MAX);
        ensure!(
            status.is_some(),
            "{} still runs {} s after SIGTERM",
            self.service,
            STOP_MAX.as_secs()
        );
        self.struck = true;
        Ok(())
    }
}

/// Returns an SQL statement that takes a lock for which every worker must wait.
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

/// Converts a time to microseconds since 1970, as leases are stored.
fn micros(moment: SystemTime) -> Result<u128> {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.context("the clock is before 1970")?.as_micros())
}
