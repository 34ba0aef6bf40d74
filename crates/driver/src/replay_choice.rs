//! What a replay does with a page of stored events.

use std::collections::BTreeSet;

use hookbox_event::{EventId, EventNumber};

use crate::{ReplayCandidate, ReplayFilter, ReplayPage, Replayable};

/// The events of a page, sorted by what a replay does with them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplayChoice {
    /// How many events are replayed or left alone, and the position of the last event of the page.
    pub page: ReplayPage,
    /// The events that are done on the route and run there again, in the order of the page.
    pub again: Vec<EventNumber>,
    /// The events that the route never had, in the order of the page.
    pub first: Vec<EventNumber>,
    /// All events that are replayed, those of `again` and of `first`, in the order of the page.
    pub replayed: Vec<EventNumber>,
}

impl ReplayChoice {
    /// Sorts the events of a page.
    pub fn of(filter: &ReplayFilter, candidates: &[ReplayCandidate]) -> Self {
        let mut choice = Self::default();
        for candidate in candidates {
            let number = candidate.position.number;
            let replayable = filter.judge(candidate);
            choice.page.counts.add(replayable);
            choice.page.last = Some(candidate.position);
            let of_its_kind = match replayable {
                Replayable::Again => &mut choice.again,
                Replayable::First => &mut choice.first,
                Replayable::Left(_) => continue,
            };
            of_its_kind.push(number);
            choice.replayed.push(number);
        }
        choice
    }
}

/// Returns the ids of those candidates whose numbers are in `replayed`, in the order of the
/// candidates. The audit names the events in this order.
pub fn replayed_events(candidates: &[ReplayCandidate], replayed: &[EventNumber]) -> Vec<EventId> {
    let replayed: BTreeSet<EventNumber> = replayed.iter().copied().collect();
    let of_replay = |it: &&ReplayCandidate| replayed.contains(&it.position.number);
    let events = candidates.iter().filter(of_replay).map(|it| it.event);
    events.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClaimState, ReplayCounts};

    fn numbers(numbers: &[i64]) -> Vec<EventNumber> {
        numbers.iter().copied().map(EventNumber::from_i64).collect()
    }

    #[test]
    fn a_page_is_sorted_by_what_becomes_of_its_events() {
        let candidates = [
            (9, None),
            (2, Some(ClaimState::Done)),
            (5, Some(ClaimState::Dead)),
            (3, None),
            (7, Some(ClaimState::Done)),
            (4, Some(ClaimState::Retrying)),
        ];
        let candidates = candidates.map(|(number, state)| ReplayCandidate::sample(number, state));
        let counts = ReplayCounts {
            first: 2,
            dead: 1,
            waiting: 1,
            ..ReplayCounts::default()
        };
        for (again, counts, expect, replayed) in [
            (
                true,
                ReplayCounts { again: 2, ..counts },
                &[2, 7][..],
                &[9, 2, 3, 7][..],
            ),
            (false, ReplayCounts { done: 2, ..counts }, &[], &[9, 3]),
        ] {
            let choice = ReplayChoice::of(&ReplayFilter::sample(again), &candidates);
            // The page ends with an event that is left alone.
            let last = Some(candidates[5].position);
            assert_eq!(choice.page, ReplayPage { counts, last });
            assert_eq!(choice.again, numbers(expect));
            assert_eq!(choice.first, numbers(&[9, 3]));
            assert_eq!(choice.replayed, numbers(replayed));
        }
        let none = ReplayChoice::of(&ReplayFilter::sample(true), &[]);
        assert_eq!(none, ReplayChoice::default());
    }

    /// Another operator may have put an event on the route meanwhile. Then this replay has not
    /// replayed it.
    #[test]
    fn only_events_that_were_replayed_are_named() {
        let candidates = [9, 2, 5].map(|number| ReplayCandidate::sample(number, None));
        for (replayed, expect) in [
            (numbers(&[2, 9]), vec![9, 2]),
            (numbers(&[5]), vec![5]),
            (numbers(&[4]), vec![]),
        ] {
            let expect: Vec<_> = expect
                .into_iter()
                .map(|it| EventId::from_bytes([it; 16]))
                .collect();
            assert_eq!(replayed_events(&candidates, &replayed), expect);
        }
    }
}
