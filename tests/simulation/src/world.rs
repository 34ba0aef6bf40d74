//! The state that all parts of a run share: the random numbers, the trace, the faults, and the
//! simulated broker and store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hookbox_event::Timestamp;
use hookbox_testkit::fake_clock::FakeClock;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::accepted::Accepted;
use crate::chance::Chance;
use crate::fault::{Fault, Faults};
use crate::queues::Queues;
use crate::tables::Tables;
use crate::trace::Trace;

/// The time at which every run begins, in microseconds since 1970. The exact value does not matter.
/// It is not a round number in any unit, so a test shows if a time is truncated.
const BEGINNING: i64 = 1_764_000_000_123_456;

pub(crate) struct World {
    pub chance: Chance,
    began: Instant,
    state: Mutex<State>,
    /// Notified whenever a lock of the store is released.
    pub unlocked: Notify,
    /// Tasks that outlive the process that started them, such as a commit that the store still has
    /// to apply.
    pub later: TaskTracker,
}

pub(crate) struct State {
    pub trace: Trace,
    pub faults: Faults,
    pub queues: Queues,
    pub tables: Tables,
    /// Violations of invariants that were seen during the run.
    pub violations: Vec<String>,
    /// Webhooks that were answered 200.
    pub accepted: Vec<Accepted>,
    /// Bodies that were posted with a valid signature.
    pub signed: std::collections::BTreeSet<Bytes>,
}

impl World {
    pub fn new(seed: u64, faults: Faults, keep_all: bool) -> Arc<Self> {
        let began = Instant::now();
        Arc::new(Self {
            chance: Chance::new(seed),
            began,
            state: Mutex::new(State {
                trace: Trace::new(began, keep_all),
                faults,
                queues: Queues::default(),
                tables: Tables::default(),
                violations: Vec::new(),
                accepted: Vec::new(),
                signed: std::collections::BTreeSet::new(),
            }),
            unlocked: Notify::new(),
            later: TaskTracker::new(),
        })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note(&self, what: &str) {
        self.state().trace.note(what);
    }

    /// Returns the clock of one process. It differs from the virtual time of the run by `offset`,
    /// which is in microseconds.
    pub fn clock(&self, offset: i64) -> FakeClock {
        let shown = Timestamp::from_unix_micros(BEGINNING + offset);
        FakeClock::running(shown, self.began)
    }

    /// Returns the virtual time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Decides by chance whether a fault strikes now, and counts and traces it when it does.
    pub fn strikes(&self, fault: Fault, whom: &str) -> bool {
        let mut state = self.state();
        let rate = state.faults.rate(fault);
        let struck = rate > 0 && self.chance.below(1000) < rate;
        if struck {
            state.struck(fault, whom);
        }
        struck
    }

    /// Returns the first of these faults that strikes now, or `None`.
    pub fn one_of(&self, faults: &[Fault], whom: &str) -> Option<Fault> {
        faults.iter().copied().find(|it| self.strikes(*it, whom))
    }

    /// Runs `what` after `wait`, even when the process that requested it has ended by then.
    pub fn after(self: &Arc<Self>, wait: Duration, what: impl FnOnce(&World) + Send + 'static) {
        let world = Arc::clone(self);
        self.later.spawn(async move {
            tokio::time::sleep(wait).await;
            what(&world);
        });
    }
}

impl State {
    pub fn struck(&mut self, fault: Fault, whom: &str) {
        self.faults.count(fault);
        self.trace.note(&format!("! {} {whom}", fault.as_str()));
    }

    pub fn violate(&mut self, invariant: &str, what: &str) {
        let text = format!("{invariant}: {what}");
        self.trace.note(&format!("VIOLATION {text}"));
        self.violations.push(text);
    }
}
