//! The state that a run shares: chance, the trace, the faults, and the two servers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hookbox_driver::Clock;
use hookbox_event::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::chance::Chance;
use crate::fault::{Fault, Faults};
use crate::queues::Queues;
use crate::sender::Accepted;
use crate::tables::Tables;
use crate::trace::Trace;

/// The moment at which every run begins. Any will do; this one is no round number of anything.
const BEGINNING: i64 = 1_764_000_000_123_456;

pub(crate) struct World {
    pub chance: Chance,
    began: Instant,
    state: Mutex<State>,
    /// Notified whenever a lock of the store is released.
    pub unlocked: Notify,
    /// What happens later, after the process that began it has ended, too: a commit that was on its
    /// way, say.
    pub later: TaskTracker,
}

pub(crate) struct State {
    pub trace: Trace,
    pub faults: Faults,
    pub queues: Queues,
    pub tables: Tables,
    /// Violations of invariants that were seen during the run.
    pub violations: Vec<String>,
    /// What was answered 200.
    pub accepted: Vec<Accepted>,
    /// Bodies that were posted with a valid key.
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

    /// Since the beginning of the run.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether a fault strikes now; it is counted and traced when it does.
    pub fn strikes(&self, fault: Fault, whom: &str) -> bool {
        let mut state = self.state();
        let rate = state.faults.rate(fault);
        let struck = rate > 0 && self.chance.below(1000) < rate;
        if struck {
            state.struck(fault, whom);
        }
        struck
    }

    /// The first of these faults that strikes now.
    pub fn one_of(&self, faults: &[Fault], whom: &str) -> Option<Fault> {
        faults.iter().copied().find(|it| self.strikes(*it, whom))
    }

    /// Does something after a while, also when the process that asked for it has ended.
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

/// The clock of one process, wrong by so many microseconds.
pub(crate) struct SimClock {
    pub world: Arc<World>,
    pub offset: i64,
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(BEGINNING + self.offset).saturating_add(self.world.elapsed())
    }
}
