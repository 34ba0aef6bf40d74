//! The state that the endpoints show: the open parts of the process, and the results of the polls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hookbox_driver::{Accounts, Backlog, Broker, Depth, Mismatch};
use hookbox_ingest as ingest;
use hookbox_worker as worker;

use crate::compose::AnyStore;
use crate::telemetry::Log;

/// The state that the endpoints show. Parts of the process that are not open yet are absent.
#[derive(Default)]
pub struct Monitor {
    parts: Mutex<Parts>,
    seen: Mutex<Observed>,
}

/// The parts of a running hookbox. Each part is `None` until it is open.
#[derive(Default, Clone)]
pub struct Parts {
    /// The broker.
    pub broker: Option<Arc<dyn Broker>>,
    /// While the broker is not open yet: why the last attempt to open it failed.
    pub broker_away: Option<String>,
    /// The store, if a role of this process needs one.
    pub store: Option<AnyStore>,
    /// The counters of ingest.
    pub ingest: Option<Arc<ingest::Counters>>,
    /// The counters of the spool, if there is a spool.
    pub spool: Option<Arc<hookbox_spool::SpoolCounters>>,
    /// The spool's SQLite file, as a broker.
    pub spool_file: Option<Arc<dyn Broker>>,
    /// The counters of the worker.
    pub worker: Option<Arc<worker::Counters>>,
    /// The dependencies that the roles need, whether or not they are open yet.
    pub needs: Needs,
    /// The log, which counts the lines that were dropped.
    pub log: Log,
    /// Whether the process is shutting down.
    pub draining: bool,
}

/// The dependencies that the roles of this process need.
#[derive(Debug, Default, Clone, Copy)]
pub struct Needs {
    /// Whether the roles need a store, in addition to the broker that every role needs.
    pub store: bool,
    /// Whether a broker separate from the store holds the store's witness messages, which show that
    /// one of the two was restored. False if both are one SQLite file.
    pub witness: bool,
}

/// The results of the last polls. Each is `None` before its first poll. After a failed poll it is
/// `None` again, except `witness`, which keeps its last result.
#[derive(Debug, Default, Clone)]
pub struct Observed {
    /// Whether the store answers, and if not, why.
    pub store: Option<Result<(), String>>,
    /// The depths of the broker's queues.
    pub depths: Option<Vec<Depth>>,
    /// The numbers of retries and dead letters in the store.
    pub backlog: Option<Vec<Backlog>>,
    /// The receipts that ingests have reported, and those among them that have no outcome.
    pub accounts: Option<Accounts>,
    /// The size of SQLite's write-ahead log, in bytes.
    pub sqlite_log: Option<u64>,
    /// The number of imbalances: claims and receipts that contradict each other, or whose rows are
    /// gone.
    pub contradictions: Option<u64>,
    /// How the store and the witness messages at its broker contradict each other: `Some(None)`
    /// when they do not, `None` while they have not been compared.
    pub witness: Option<Option<Mismatch>>,
    /// For how many seconds committed ends have been held back from programs that read them; 0 if
    /// none are held back.
    pub ends_held_back_s: Option<u64>,
}

impl Monitor {
    pub(super) fn change(&self, change: impl FnOnce(&mut Parts)) {
        change(&mut lock(&self.parts));
    }

    pub(super) fn parts(&self) -> Parts {
        lock(&self.parts).clone()
    }

    pub(super) fn observed(&self) -> Observed {
        self.seen().clone()
    }

    /// Locks the results of the polls, for changing them.
    pub(super) fn seen(&self) -> MutexGuard<'_, Observed> {
        lock(&self.seen)
    }
}

/// Locks a value. Writers replace the value as a whole, so after a panic under the lock it is
/// either the old or the new value.
fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
