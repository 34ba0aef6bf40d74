//! The start markers (rows that count handler starts) that this process has set and not cleared
//! yet.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hookbox_driver::{CountedStart, Start, StartCounts, StartKind};
use hookbox_event::RouteName;

/// The start markers (rows that count handler starts) that this process has set and not cleared
/// yet. A process that shuts down in an orderly way has survived these starts, so its end is not
/// counted as a process death.
#[derive(Default)]
pub(crate) struct OwnMarkers {
    starts: Mutex<HashMap<RouteName, HashMap<Start, CountedStart>>>,
}

impl OwnMarkers {
    /// Records starts of handlers that the store is about to count. A start that the store has
    /// certainly counted keeps its kind if the new kind is `Shared`: the store does not count it
    /// again.
    pub fn add(&self, route: &RouteName, kind: StartKind, starts: &[Start]) {
        let is_certain = false;
        self.of_route(route, |own| {
            for start in starts {
                let before = own.get(start);
                if !(kind == StartKind::Shared && before.is_some_and(|it| it.is_certain)) {
                    own.insert(*start, CountedStart { kind, is_certain });
                }
            }
        });
    }

    /// Records that the store has confirmed that it counted these starts of handlers.
    pub fn counted(&self, route: &RouteName, starts: &[Start]) {
        self.of_route(route, |own| {
            for start in starts {
                if let Some(marker) = own.get_mut(start) {
                    marker.is_certain = true;
                }
            }
        });
    }

    /// Returns how this process has counted the start of this handler, if it has.
    pub fn get(&self, route: &RouteName, start: Start) -> Option<CountedStart> {
        self.of_route(route, |own| own.get(&start).copied())
    }

    /// Returns whether this process has already counted this start as one in isolation. If so, this
    /// process must not count it again. The store ignores a second count only if the same process
    /// was also the last one that counted, but another process may have counted in between.
    pub fn is_counted_alone(&self, route: &RouteName, start: Start) -> bool {
        let marker = self.get(route, start);
        marker.is_some_and(|it| it.is_certain && it.kind != StartKind::Shared)
    }

    /// Returns the store's counts of handler starts without the start that this process has
    /// counted itself. This process may have lost its connection to the broker and received the
    /// message again. It has not died, so its own start must not count as a process death.
    ///
    /// It may be uncertain whether the store has counted the own start. A quarantine is final, so
    /// the two counts that decide on it are then reduced nevertheless. The count of all starts
    /// decides only whether the event runs in isolation, and is not reduced.
    pub fn without_own(
        &self,
        route: &RouteName,
        start: Start,
        mut counts: StartCounts,
    ) -> StartCounts {
        let Some(own) = self.get(route, start) else {
            return counts;
        };
        let (isolated, unproven) = own.kind.adds();
        counts.all = counts.all.saturating_sub(own.is_certain.into());
        counts.isolated = counts.isolated.saturating_sub(isolated);
        counts.unproven = counts.unproven.saturating_sub(unproven);
        counts
    }

    pub fn remove(&self, route: &RouteName, starts: &[Start]) {
        self.of_route(route, |own| own.retain(|start, _| !starts.contains(start)));
    }

    /// Returns those of the given start markers that this process has set.
    pub fn among(&self, route: &RouteName, starts: &[Start]) -> Vec<Start> {
        self.of_route(route, |own| {
            let counted = starts.iter().filter(|start| own.contains_key(start));
            counted.copied().collect()
        })
    }

    /// Returns all start markers, in a fixed order.
    pub fn all(&self) -> Vec<(RouteName, Vec<Start>)> {
        let held = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<(RouteName, Vec<Start>)> = held
            .iter()
            .filter(|(_, starts)| !starts.is_empty())
            .map(|(route, starts)| (route.clone(), starts.keys().copied().collect()))
            .collect();
        for (_, starts) in &mut all {
            starts.sort_by_key(|start| (*start.receipt.as_bytes(), start.attempt));
        }
        all.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        all
    }

    fn of_route<T>(
        &self,
        route: &RouteName,
        change: impl FnOnce(&mut HashMap<Start, CountedStart>) -> T,
    ) -> T {
        let mut held = self.starts.lock().unwrap_or_else(PoisonError::into_inner);
        change(held.entry(route.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hookbox_event::ReceiptId;

    use super::*;

    #[test]
    fn a_process_does_not_take_its_own_start_for_a_death_and_counts_it_once() {
        let (markers, route) = (
            OwnMarkers::default(),
            "scores".parse::<RouteName>().unwrap(),
        );
        let start = Start {
            receipt: ReceiptId::from_bytes([7; 16]),
            attempt: 0,
        };
        let counts = StartCounts {
            all: 4,
            isolated: 3,
            unproven: 2,
        };
        assert_eq!(markers.without_own(&route, start, counts), counts);
        markers.add(&route, StartKind::Shared, &[start]);
        assert_eq!(markers.without_own(&route, start, counts), counts);
        markers.counted(&route, &[start]);
        let others = StartCounts { all: 3, ..counts };
        assert_eq!(markers.without_own(&route, start, counts), others);
        assert!(!markers.is_counted_alone(&route, start));

        // Another copy of the message sets the marker again.
        markers.add(&route, StartKind::Shared, &[start]);
        assert_eq!(markers.without_own(&route, start, counts), others);

        // The answer of the store was lost, so this process counts the start again. The start must
        // not be taken for the death of a process.
        markers.add(&route, StartKind::Isolated, &[start]);
        let others = StartCounts {
            isolated: 2,
            ..counts
        };
        assert_eq!(markers.without_own(&route, start, counts), others);
        assert!(!markers.is_counted_alone(&route, start));
        markers.counted(&route, &[start]);
        let others = StartCounts { all: 3, ..others };
        assert_eq!(markers.without_own(&route, start, counts), others);
        assert!(markers.is_counted_alone(&route, start));

        // A start in isolation that was counted stays one, whatever sets the marker again.
        markers.add(&route, StartKind::Shared, &[start]);
        assert_eq!(markers.without_own(&route, start, counts), others);
        assert!(markers.is_counted_alone(&route, start));

        markers.remove(&route, &[start]);
        assert!(!markers.is_counted_alone(&route, start));
        assert_eq!(markers.without_own(&route, start, counts), counts);
    }
}
