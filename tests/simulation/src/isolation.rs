//! Checks which handlers run beside which in one process. An event that may have ended another
//! process must run in isolation: otherwise another event could be blamed for its next death.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hookbox_driver::{Start, StartCounts};
use hookbox_event::RouteName;
use tokio::task::{self, Id};

/// Of which task: another may have a copy in flight, without having read its counts.
type Suspect = (Option<Id>, RouteName, Start);

/// The handlers of one process, checked for isolation.
#[derive(Default)]
pub(crate) struct IsolationCheck {
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    /// Starts that the store returned as counted before and not survived.
    suspects: HashSet<Suspect>,
    /// Each with whether it must run in isolation.
    running: BTreeMap<u64, bool>,
    number: u64,
}

/// A handler that runs, until this is dropped.
pub(crate) struct RunningHandler<'a> {
    check: &'a IsolationCheck,
    number: u64,
    /// Whether one of them must run in isolation, and does not.
    pub is_wrong: bool,
}

impl IsolationCheck {
    /// The store returned how often each was started.
    pub fn counts_read(&self, route: &RouteName, of: &[Start], counts: &[StartCounts]) {
        let mut now = self.now();
        for (start, count) in of.iter().zip(counts) {
            let on = suspect(route, start);
            if count.all > 0 {
                now.suspects.insert(on);
            } else {
                now.suspects.remove(&on);
            }
        }
    }

    /// These are no suspects any more.
    pub fn cleared(&self, route: &RouteName, of: &[Start]) {
        let mut now = self.now();
        for start in of {
            now.suspects.remove(&suspect(route, start));
        }
    }

    /// A handler begins.
    pub fn begin(&self, route: &RouteName, start: &Start) -> RunningHandler<'_> {
        let mut now = self.now();
        let alone = now.suspects.contains(&suspect(route, start));
        let is_wrong = if alone {
            !now.running.is_empty()
        } else {
            now.running.values().any(|alone| *alone)
        };
        now.number += 1;
        let number = now.number;
        now.running.insert(number, alone);
        RunningHandler {
            check: self,
            number,
            is_wrong,
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn suspect(route: &RouteName, start: &Start) -> Suspect {
    (task::try_id(), route.clone(), *start)
}

impl Drop for RunningHandler<'_> {
    fn drop(&mut self) {
        self.check.now().running.remove(&self.number);
    }
}
