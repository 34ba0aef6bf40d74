//! Faults of processes, servers and networks: what there is, on what part, and for how long. How
//! each is inflicted is in `inflict`.

use std::time::Duration;

use hookbox_testkit::servers::process::wait_until;

use crate::pair::Pair;

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
    /// The connection breaks in the middle of a publish: in the frame that names the queue.
    CutPublish,
    /// The same, in the middle of an event's body.
    CutBody,
    KillPostgres,
    FreezePostgres(u64),
    TerminateBackends,
    CutStore,
    StoreHole(u64),
    /// COMMIT arrives, and its answer does not.
    CommitUnanswered,
    /// COMMIT does not arrive.
    CommitDropped,
    /// Another session holds locks on the tables that workers write.
    LockStore(u64),
    /// A reader holds an old snapshot of the file, and does not end.
    LongReader(u64),
}

use Fault::*;

/// In milliseconds. What is in flight at a worker that is frozen for so long goes to another:
/// RabbitMQ misses two heartbeats of 10 s, and a lease in SQLite lasts 15 s.
const MOVES: u64 = 30_000;

/// The part that a fault affects: two at a time affect different parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Ingest,
    Worker,
    Broker,
    LinkToBroker,
    Store,
    LinkToStore,
}

/// In milliseconds. Until the bytes that a trap waits for are sent: under load they are sent many
/// times a second, and after an earlier fault a connection may have to be made again.
const TRAP_MAX: u64 = 10_000;

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
    CutBody,
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

    /// The part that it affects.
    pub fn part(self) -> Part {
        match self {
            KillIngest | TermIngest | FreezeIngest(_) => Part::Ingest,
            KillWorker | TermWorker | FreezeWorker(_) => Part::Worker,
            KillBroker | FreezeBroker(_) | BlockBroker(_) => Part::Broker,
            CutBroker | BrokerHole(_) | LoseConfirms(_) | LosePublishes(_) | CutPublish
            | CutBody => Part::LinkToBroker,
            KillPostgres | FreezePostgres(_) | TerminateBackends | LockStore(_) | LongReader(_) => {
                Part::Store
            }
            CutStore | StoreHole(_) | CommitUnanswered | CommitDropped => Part::LinkToStore,
        }
    }

    /// For how many milliseconds it lasts: exactly, or at most where it waits for bytes.
    pub fn lasts(self) -> u64 {
        match self {
            FreezeIngest(time) | FreezeWorker(time) | FreezeBroker(time) | BlockBroker(time)
            | BrokerHole(time) | LoseConfirms(time) | LosePublishes(time)
            | FreezePostgres(time) | StoreHole(time) | LockStore(time) | LongReader(time) => time,
            CutPublish | CutBody | CommitUnanswered | CommitDropped => TRAP_MAX,
            KillIngest | KillWorker | TermIngest | TermWorker | KillBroker | CutBroker
            | KillPostgres | TerminateBackends | CutStore => 0,
        }
    }

    /// Whether it lasts until certain bytes are sent, and not for a time.
    pub fn waits_for_words(self) -> bool {
        matches!(
            self,
            CutPublish | CutBody | CommitUnanswered | CommitDropped
        )
    }

    /// Whether a sender must have felt it: while it lasts, ingest can promise nothing.
    pub fn is_felt(self) -> bool {
        // A connection that is cut is made again before a request need fail.
        matches!(self.part(), Part::Broker | Part::LinkToBroker) && self != CutBroker
    }

    /// Whether it is so long that what is in flight at a worker goes to another.
    pub fn moves_work(self) -> bool {
        self.part() == Part::Worker && self.lasts() >= MOVES
    }

    /// For how many milliseconds ingest itself stands still.
    pub fn holds_ingest(self) -> u64 {
        let FreezeIngest(time) = self else {
            return 0;
        };
        time
    }
}

/// Lets a fault last. Milliseconds.
pub fn pause(time: u64) {
    wait_until(Duration::from_millis(time), || false);
}
