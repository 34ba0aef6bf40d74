//! Which handlers run beside which in one process. What a process was told may have killed
//! another runs alone: with company, its next victim would be a neighbour.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hookbox_driver::{Start, StartCounts};
use hookbox_event::RouteName;
use tokio::task::{self, Id};

/// Of which task: another may have a copy in hand, and not have been told of it.
type Suspect = (Option<Id>, RouteName, Start);

/// The handlers of one process.
#[derive(Default)]
pub(crate) struct Company {
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    /// What the store said was started before, and not survived.
    suspects: HashSet<Suspect>,
    /// Each with whether it must be alone.
    running: BTreeMap<u64, bool>,
    number: u64,
}

/// A handler that runs, until this is dropped.
pub(crate) struct Running<'a> {
    company: &'a Company,
    number: u64,
    /// Whether somebody must be alone, and is not.
    pub is_wrong: bool,
}

impl Company {
    /// The store said of each how often it was started.
    pub fn told(&self, route: &RouteName, of: &[Start], counts: &[StartCounts]) {
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
    pub fn begin(&self, route: &RouteName, start: &Start) -> Running<'_> {
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
        Running {
            company: self,
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

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.company.now().running.remove(&self.number);
    }
}
