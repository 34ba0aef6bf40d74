//! Faults of processes, servers and networks: each breaks something real, waits, and mends it.

use std::time::Duration;

use anyhow::{Context, Result};
use hookbox_testkit::servers::process::wait_until;

use crate::pair::Pair;
use crate::proxy::{Mode, Snap};
use crate::servers::Servers;
use crate::world::World;
use hookbox_testkit::chance::Chance;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    KillIngest,
    KillWorker,
    TermIngest,
    TermWorker,
    /// SIGSTOP for so many milliseconds.
    FreezeIngest(u64),
    FreezeWorker(u64),
    KillBroker,
    FreezeBroker(u64),
    /// The memory alarm, for so many milliseconds.
    BlockBroker(u64),
    CutBroker,
    /// Bytes to and from the broker vanish.
    BrokerHole(u64),
    /// Confirms vanish.
    LoseConfirms(u64),
    /// Publishes vanish.
    LosePublishes(u64),
    /// The link breaks in the middle of a publish.
    CutPublish,
    KillPostgres,
    FreezePostgres(u64),
    TerminateBackends,
    CutStore,
    StoreHole(u64),
    /// COMMIT arrives, and its answer does not.
    CommitUnanswered,
    /// COMMIT does not arrive.
    CommitDropped,
    /// Somebody else holds locks on what workers write.
    LockStore(u64),
    /// Somebody reads an old snapshot of the file, and does not end.
    LongReader(u64),
}

use Fault::*;

/// What can go wrong with servers.
pub const ON_SERVERS: &[Fault] = &[
    KillIngest,
    KillWorker,
    TermIngest,
    TermWorker,
    FreezeIngest(3_000),
    FreezeWorker(5_000),
    KillBroker,
    FreezeBroker(6_000),
    BlockBroker(5_000),
    CutBroker,
    BrokerHole(5_000),
    LoseConfirms(4_000),
    LosePublishes(4_000),
    CutPublish,
    KillPostgres,
    FreezePostgres(6_000),
    TerminateBackends,
    CutStore,
    StoreHole(5_000),
    CommitUnanswered,
    CommitDropped,
    LockStore(4_000),
];

/// What can go wrong with one file.
pub const ON_A_FILE: &[Fault] = &[
    KillIngest,
    KillWorker,
    TermIngest,
    TermWorker,
    FreezeIngest(3_000),
    FreezeWorker(5_000),
    LockStore(3_000),
    LockStore(8_000),
    LongReader(4_000),
];

/// Everything that can go wrong on a pair.
pub fn all(pair: Pair) -> &'static [Fault] {
    match pair {
        Pair::RabbitmqPostgres => ON_SERVERS,
        Pair::Sqlite => ON_A_FILE,
    }
}

impl Fault {
    /// Its name, without how long it lasts.
    pub fn kind(self) -> String {
        let name = format!("{self:?}");
        name.split('(').next().unwrap_or_default().to_owned()
    }

    /// Breaks, waits and mends.
    ///
    /// # Errors
    /// When it cannot be done.
    pub fn inflict(self, world: &mut World, servers: &Servers, chance: &mut Chance) -> Result<()> {
        let worker = *chance.one_of(&["worker 1", "worker 2"]);
        match self {
            KillIngest => world.kill("ingest 1"),
            KillWorker => world.kill(worker),
            TermIngest => tell(world, "ingest 1", "TERM"),
            TermWorker => tell(world, worker, "TERM"),
            FreezeIngest(time) => freeze(world, "ingest 1", time),
            FreezeWorker(time) => freeze(world, worker, time),
            KillBroker | FreezeBroker(_) | BlockBroker(_) => self.break_broker(servers),
            KillPostgres | FreezePostgres(_) => self.break_postgres(servers),
            CutBroker | BrokerHole(_) | LoseConfirms(_) | LosePublishes(_) | CutPublish => {
                self.break_link_to_broker(world)
            }
            CutStore | StoreHole(_) | CommitUnanswered | CommitDropped => {
                self.break_link_to_store(world)
            }
            TerminateBackends => {
                let question = "select cast(count(pg_terminate_backend(pid)) as text) \
                     from pg_stat_activity where datname = current_database() \
                     and pid <> pg_backend_pid()";
                world.place.sql.number(question).map(drop)
            }
            LockStore(time) => lock_store(world, time),
            LongReader(time) => world.place.sql.hold("select count(*) from events", time),
        }
        .with_context(|| format!("inflicting {self:?}"))
    }

    fn break_broker(self, servers: &Servers) -> Result<()> {
        let mut broker = servers.rabbitmq();
        match self {
            FreezeBroker(time) => {
                broker.stop()?;
                pause(time);
                broker.cont()?;
            }
            BlockBroker(time) => {
                broker.ctl(&["set_vm_memory_high_watermark", "0.000001"])?;
                pause(time);
                broker.ctl(&["set_vm_memory_high_watermark", "0.4"])?;
            }
            _ => {
                broker.kill()?;
                broker.restart()?;
            }
        }
        Ok(())
    }

    fn break_postgres(self, servers: &Servers) -> Result<()> {
        let mut postgres = servers.postgres();
        if let FreezePostgres(time) = self {
            postgres.stop()?;
            pause(time);
            postgres.cont()?;
        } else {
            postgres.kill()?;
            postgres.restart()?;
        }
        Ok(())
    }

    fn break_link_to_broker(self, world: &World) -> Result<()> {
        let proxy = world.place.to_broker.as_ref().context("no proxy")?;
        match self {
            BrokerHole(time) => during(|mode| proxy.set(mode), Mode::Hole, time),
            LoseConfirms(time) => during(|mode| proxy.set(mode), Mode::LoseAnswers, time),
            LosePublishes(time) => during(|mode| proxy.set(mode), Mode::LoseRequests, time),
            CutPublish => {
                // basic.publish: class 60, method 40, and a first short that is always zero.
                proxy.arm(&[0, 60, 0, 40, 0, 0], Snap::Amid, 3);
                pause(1_500);
                proxy.disarm();
            }
            _ => {}
        }
        proxy.cut();
        Ok(())
    }

    fn break_link_to_store(self, world: &World) -> Result<()> {
        let proxy = world.place.to_store.as_ref().context("no proxy")?;
        match self {
            StoreHole(time) => {
                during(|mode| proxy.set(mode), Mode::Hole, time);
                proxy.cut();
            }
            CommitUnanswered | CommitDropped => {
                let snap = if self == CommitDropped {
                    Snap::Before
                } else {
                    Snap::After
                };
                proxy.arm(b"COMMIT", snap, 5);
                pause(2_500);
                proxy.disarm();
            }
            _ => proxy.cut(),
        }
        Ok(())
    }
}

fn tell(world: &mut World, name: &str, signal: &str) -> Result<()> {
    let node = world.node(name);
    node.with_context(|| format!("{name} does not run"))?
        .signal(signal)
}

fn freeze(world: &mut World, name: &str, time: u64) -> Result<()> {
    tell(world, name, "STOP")?;
    pause(time);
    tell(world, name, "CONT")
}

fn lock_store(world: &World, time: u64) -> Result<()> {
    let sql = &world.place.sql;
    let statement = if sql.is_postgres() {
        "lock table claims in exclusive mode"
    } else {
        "create table if not exists chaos_lock (x integer) strict"
    };
    sql.hold(statement, time)
}

fn during(set: impl Fn(Mode), mode: Mode, time: u64) {
    set(mode);
    pause(time);
    set(Mode::Pass);
}

/// Lets a fault last. Milliseconds.
pub fn pause(time: u64) {
    wait_until(Duration::from_millis(time), || false);
}
