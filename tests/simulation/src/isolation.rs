//! Checks which handlers run at the same time in one process. An event is suspected if it may have
//! ended another process, and must then run in isolation. If it ran beside other events and ended
//! this process too, one of the others could be taken for the cause.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hookbox_driver::{Start, StartCounts};
use hookbox_event::RouteName;
use tokio::task::{self, Id};

/// A suspected event, and the task that has read its start counts. Another task of the process may
/// handle a copy of the event without having read the counts, and does not suspect it.
type Suspect = (Option<Id>, RouteName, Start);

/// The handlers of one process, checked for isolation.
#[derive(Default)]
pub(crate) struct IsolationCheck {
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    /// The suspected events: the store has returned start markers of other processes for them.
    suspects: HashSet<Suspect>,
    /// The starts that this process has certainly counted in the store, and not cleared. It has
    /// not died, so they make no event suspected.
    own: HashSet<(RouteName, Start)>,
    /// The handlers that run now. The key is the number of the run. The value is whether the
    /// handler must run in isolation.
    running: BTreeMap<u64, bool>,
    number: u64,
}

/// A running handler. Dropping this value ends the run.
pub(crate) struct RunningHandler<'a> {
    check: &'a IsolationCheck,
    number: u64,
    /// Whether this run violates isolation: another handler runs at the same time, and one of the
    /// two must run in isolation.
    pub is_wrong: bool,
}

impl IsolationCheck {
    /// Records the start counts that the store returned to this task.
    pub fn counts_read(&self, route: &RouteName, of: &[Start], counts: &[StartCounts]) {
        let mut now = self.now();
        for (start, count) in of.iter().zip(counts) {
            let on = suspect(route, start);
            let own = now.own.contains(&(route.clone(), *start));
            if count.all > u32::from(own) {
                now.suspects.insert(on);
            } else {
                now.suspects.remove(&on);
            }
        }
    }

    /// Records that the store has confirmed that it counted these starts of this process.
    pub fn counted(&self, route: &RouteName, of: &[Start]) {
        let own = of.iter().map(|start| (route.clone(), *start));
        self.now().own.extend(own);
    }

    /// Records that the store has subtracted a start of this process.
    pub fn retracted(&self, route: &RouteName, start: Start) {
        self.now().own.remove(&(route.clone(), start));
    }

    /// Records that the store has cleared the counts of these starts, so that their events are no
    /// longer suspected.
    pub fn cleared(&self, route: &RouteName, of: &[Start]) {
        let mut now = self.now();
        for start in of {
            now.own.remove(&(route.clone(), *start));
            now.suspects.remove(&suspect(route, start));
        }
    }

    /// Records that a handler begins to run.
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
