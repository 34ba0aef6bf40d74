//! The starts that a process answers for: those it has counted and not forgotten again.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use hookbox_driver::Start;
use hookbox_event::RouteName;

/// The starts that this process has counted, and not forgotten again. One that ends of its own
/// will while it has some has survived them: its end is no death.
#[derive(Default)]
pub(crate) struct Begun {
    starts: Mutex<HashMap<RouteName, HashSet<Start>>>,
}

impl Begun {
    pub fn add(&self, route: &RouteName, starts: &[Start]) {
        self.of_route(route, |begun| begun.extend(starts));
    }

    pub fn forget(&self, route: &RouteName, starts: &[Start]) {
        self.of_route(route, |begun| begun.retain(|start| !starts.contains(start)));
    }

    /// Those of these that were counted here.
    pub fn among(&self, route: &RouteName, starts: &[Start]) -> Vec<Start> {
        self.of_route(route, |begun| {
            let counted = starts.iter().filter(|start| begun.contains(start));
            counted.copied().collect()
        })
    }

    /// All of them, in order.
    pub fn all(&self) -> Vec<(RouteName, Vec<Start>)> {
        let held = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<(RouteName, Vec<Start>)> = held
            .iter()
            .filter(|(_, starts)| !starts.is_empty())
            .map(|(route, starts)| (route.clone(), starts.iter().copied().collect()))
            .collect();
        for (_, starts) in &mut all {
            starts.sort_by_key(|start| (*start.receipt.as_bytes(), start.attempt));
        }
        all.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        all
    }

    fn of_route<T>(&self, route: &RouteName, change: impl FnOnce(&mut HashSet<Start>) -> T) -> T {
        let mut held = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        change(held.entry(route.clone()).or_default())
    }
}
