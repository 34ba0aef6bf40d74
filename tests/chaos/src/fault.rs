//! The faults of processes, servers and networks: which part each affects, and for how long. The
//! file `inflict.rs` inflicts them.

use std::time::Duration;

use hookbox_testkit::servers::process::wait_until;

use crate::pair::Pair;

/// A fault that is inflicted on hookbox, its servers or their connections. The number in a variant
/// is the duration of the fault in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    KillIngest,
    KillWorker,
    TermIngest,
    TermWorker,
    /// The ingest process is frozen with SIGSTOP, for this many milliseconds.
    FreezeIngest(u64),
    FreezeWorker(u64),
    KillBroker,
    FreezeBroker(u64),
    /// The broker raises a memory alarm, which blocks publishers.
    BlockBroker(u64),
    CutBroker,
    /// All bytes to and from the broker are dropped.
    BrokerHole(u64),
    /// All bytes from the broker are dropped, so that its confirms are lost.
    LoseConfirms(u64),
    /// All bytes to the broker are dropped, so that publishes are lost.
    LosePublishes(u64),
    /// The connection breaks in the middle of a publish, in the frame that names the queue.
    CutPublish,
    /// The connection breaks in the middle of an event's body.
    CutBody,
    KillPostgres,
    FreezePostgres(u64),
    TerminateBackends,
    CutStore,
    StoreHole(u64),
    /// COMMIT reaches PostgreSQL, and its answer is lost.
    CommitUnanswered,
    /// COMMIT does not reach PostgreSQL.
    CommitDropped,
    /// Another database session holds locks on the tables that workers write.
    LockStore(u64),
    /// A reader holds an old snapshot of the SQLite file.
    LongReader(u64),
    /// The service to which `forward` posts refuses connections.
    RefuseCalls(u64),
    /// The service accepts calls and never answers them.
    IgnoreCalls(u64),
    /// The service answers 503, as a proxy does when it cannot reach the service behind it.
    FailCalls(u64),
}

use Fault::*;

/// How long, in milliseconds, a worker must be frozen so that its messages in flight go to another
/// worker. RabbitMQ gives the worker up after two missed heartbeats of 10 s each. A lease in SQLite
/// ends after 15 s.
const MOVES: u64 = 30_000;

/// The part of the deployment that a fault affects. Two faults that are inflicted at the same time
/// affect different parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Ingest,
    Worker,
    Broker,
    LinkToBroker,
    Store,
    LinkToStore,
    /// The service to which `forward` posts.
    Target,
}

/// A trap of the proxy cuts a connection when the client sends certain bytes. This is the time in
/// milliseconds within which the client must send these bytes. Under load the client sends them
/// many times a second, but after an earlier fault it may have to reconnect first.
const TRAP_MAX: u64 = 10_000;

/// The faults that can strike RabbitMQ and PostgreSQL.
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
    RefuseCalls(6_000),
    IgnoreCalls(6_000),
    FailCalls(6_000),
];

/// The faults that can strike one SQLite file.
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
    RefuseCalls(6_000),
    IgnoreCalls(6_000),
    FailCalls(6_000),
];

/// Returns the faults that can strike this pair of broker and store.
pub fn all(pair: Pair) -> &'static [Fault] {
    match pair {
        Pair::RabbitmqPostgres => ON_SERVERS,
        Pair::Sqlite => ON_A_FILE,
    }
}

impl Fault {
    /// Returns the name of the fault, without its duration.
    pub fn kind(self) -> String {
        let name = format!("{self:?}");
        name.split('(').next().unwrap_or_default().to_owned()
    }

    /// Returns the part that the fault affects.
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
            RefuseCalls(_) | IgnoreCalls(_) | FailCalls(_) => Part::Target,
        }
    }

    /// Returns the duration in milliseconds. For a fault that waits until certain bytes are sent,
    /// this is the longest duration.
    pub fn lasts(self) -> u64 {
        match self {
            FreezeIngest(time) | FreezeWorker(time) | FreezeBroker(time) | BlockBroker(time)
            | BrokerHole(time) | LoseConfirms(time) | LosePublishes(time)
            | FreezePostgres(time) | StoreHole(time) | LockStore(time) | LongReader(time)
            | RefuseCalls(time) | IgnoreCalls(time) | FailCalls(time) => time,
            CutPublish | CutBody | CommitUnanswered | CommitDropped => TRAP_MAX,
            KillIngest | KillWorker | TermIngest | TermWorker | KillBroker | CutBroker
            | KillPostgres | TerminateBackends | CutStore => 0,
        }
    }

    /// Returns whether the fault is a trap of the proxy, which cuts a connection when a client
    /// sends certain bytes. Such a fault ends when these bytes were sent, and not after a fixed
    /// time.
    pub fn waits_for_words(self) -> bool {
        matches!(
            self,
            CutPublish | CutBody | CommitUnanswered | CommitDropped
        )
    }

    /// Returns whether the fault must cause at least one answer 503, because ingest cannot accept
    /// anything while the fault lasts.
    pub fn is_felt(self) -> bool {
        // `CutBroker` need not cause an answer 503, because ingest reconnects before any request
        // fails.
        matches!(self.part(), Part::Broker | Part::LinkToBroker) && self != CutBroker
    }

    /// Returns whether the fault is so long that messages in flight at a worker go to another
    /// worker.
    pub fn moves_work(self) -> bool {
        self.part() == Part::Worker && self.lasts() >= MOVES
    }

    /// Returns for how many milliseconds the fault stops the ingest process; 0 for a fault that
    /// does not stop it.
    pub fn holds_ingest(self) -> u64 {
        let FreezeIngest(time) = self else {
            return 0;
        };
        time
    }
}

/// Waits for this many milliseconds, for example until a fault has lasted long enough.
pub fn pause(time: u64) {
    wait_until(Duration::from_millis(time), || false);
}
