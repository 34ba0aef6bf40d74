//! What the ends of events change for their keys, on a route that applies only the newest event of
//! each key: which keys get a newer version, and which keys are free for another call.

use std::collections::BTreeMap;

use hookbox_event::{EventId, EventNumber, KeyDigest, RouteName};

use crate::{
    CallEffect, CallEnd, CallState, CallWrite, ClaimState, KeyState, VersionedEvent,
    newest_of_each_key,
};

/// The changes to the keys of a route that follow from the ends of some events.
#[derive(Debug, Default)]
pub struct VersionChanges<'a> {
    /// The done events, which may raise the stored versions of their keys.
    done: Vec<(EventNumber, &'a VersionedEvent)>,
    freed: Vec<(KeyDigest, EventNumber)>,
}

impl<'a> VersionChanges<'a> {
    /// Returns the changes that follow when a transaction makes these events of a route done.
    /// `compared` has the events whose versions the transaction has compared. An event in both
    /// `compared` and `done` must not be older than the stored version of its key. An event that is
    /// not in `compared` changes no key.
    pub fn of_done(
        compared: &'a BTreeMap<(RouteName, EventId), VersionedEvent>,
        route: &RouteName,
        done: &[(EventId, EventNumber)],
    ) -> Self {
        let mut changes = Self::default();
        // Most routes apply every event, so they compare no versions.
        if compared.is_empty() {
            return changes;
        }
        for (event, number) in done {
            if let Some(event) = compared.get(&(route.clone(), *event)) {
                changes.add_done(*number, event, None);
            }
        }
        changes
    }

    /// Adds an event that is done. `key` is what is stored of its key; `None` if nothing is stored,
    /// or if it is known that the event is not older than the stored version.
    fn add_done(&mut self, number: EventNumber, event: &'a VersionedEvent, key: Option<&KeyState>) {
        let done = key.and_then(|key| key.version.as_ref());
        // A call may succeed late, when a newer event of the key is done already. Then the key
        // keeps the version of the newer event.
        if !done.is_some_and(|done| event.version.is_older_than(done)) {
            self.done.push((number, event));
        }
    }

    /// Adds the end of an external call for an event. `written` is what a store writes to record
    /// this end. `frees` says whether the end frees the key of the event; see [`frees_key`].
    pub fn add_call(
        &mut self,
        number: EventNumber,
        event: &'a VersionedEvent,
        key: Option<&KeyState>,
        written: CallWrite<'_>,
        frees: bool,
    ) {
        match written {
            CallWrite::Done { .. } => self.add_done(number, event, key),
            CallWrite::Failed(_)
            | CallWrite::Expired(_)
            | CallWrite::Deferred(_)
            | CallWrite::Nothing => {}
        }
        if frees {
            self.freed.push((event.key, number));
        }
    }

    /// Returns, for each key that rises, the event that has the key's new version, with the number
    /// of the event. The order is that of the keys. If several events have this version, the one
    /// that was added last is returned.
    pub fn raised(&self) -> Vec<(EventNumber, &'a VersionedEvent)> {
        let events = self.done.iter().map(|(_, event)| *event);
        let numbered = newest_of_each_key(events).into_iter().filter_map(|newest| {
            let mut done = self.done.iter();
            done.find(|(_, event)| event.event == newest.event).copied()
        });
        numbered.collect()
    }

    /// Returns the keys that are no longer held by a call, each with the number of the event of
    /// that call, in the order in which they were added.
    pub fn freed(&self) -> &[(KeyDigest, EventNumber)] {
        &self.freed
    }
}

/// Returns whether the key of an event is free for another call when this call for the event has
/// ended. Only the end of the event's newest call frees the key: when an older call ends, the newer
/// one may still be in flight, even if the older one is a late success that makes the event done.
/// Then the end of the newer call changes nothing about the event, and still frees its key.
pub fn frees_key(end: &CallEnd, stored: CallState) -> bool {
    let has_ended = stored.claim.is_some_and(ClaimState::is_end);
    let changes = match end.effect_on(stored) {
        CallEffect::Done { .. } | CallEffect::Recorded => true,
        CallEffect::Nothing => false,
    };
    end.is_of_newest_call(stored) && (changes || has_ended)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        CallFailure, CallResult, DeferReason, DeferralWrite, Leases, TargetAnswer, WaitingAttempt,
    };

    const DONE: CallWrite<'static> = CallWrite::Done { attempt: 1 };
    const DEFERRED: CallWrite<'static> = CallWrite::Deferred(DeferralWrite {
        reason: DeferReason::TargetFault,
        is_continued: false,
        after: Duration::from_secs(1),
    });

    fn number(number: i64) -> EventNumber {
        EventNumber::from_i64(number)
    }

    fn state(done: Option<&str>) -> KeyState {
        KeyState {
            version: done.map(|done| VersionedEvent::sample(1, 1, done).version),
            calling: Some(number(1)),
        }
    }

    /// A done event raises the version of its key unless a newer event is done.
    #[test]
    fn a_call_that_is_done_raises_its_key() {
        let (event, failure) = (VersionedEvent::sample(1, 1, "2"), CallFailure::sample());
        let done_before = [None, Some("1"), Some("2.0"), Some("3")];
        for (written, raises) in [
            (DONE, [true, true, true, false]),
            (CallWrite::Failed(&failure), [false; 4]),
            (CallWrite::Expired(&failure), [false; 4]),
            (DEFERRED, [false; 4]),
            (CallWrite::Nothing, [false; 4]),
        ] {
            for (done, is_raised) in done_before.into_iter().zip(raises) {
                for frees in [true, false] {
                    let mut changes = VersionChanges::default();
                    let key = state(done);
                    changes.add_call(number(1), &event, Some(&key), written, frees);
                    let case = format!("{written:?} on {key:?}, frees: {frees}");
                    let raised = is_raised.then_some((number(1), &event));
                    assert_eq!(changes.raised(), Vec::from_iter(raised), "{case}");
                    let freed = frees.then_some((event.key, number(1)));
                    assert_eq!(changes.freed(), Vec::from_iter(freed), "{case}");
                }
            }
        }
    }

    #[test]
    fn the_end_of_the_newest_call_frees_the_key() {
        let end = |epoch, result| CallEnd {
            event: EventId::from_bytes([1; 16]),
            number: number(1),
            attempt: 3,
            attempts_before: 1,
            epoch,
            took: Duration::from_secs(1),
            result,
            answer: TargetAnswer::Answered,
            target_error: None,
            version: Some(VersionedEvent::sample(1, 1, "2")),
        };
        let stored = |claim, without_outcome| CallState {
            claim,
            waiting: (claim == Some(ClaimState::Retrying)).then_some(WaitingAttempt {
                attempt: 3,
                attempts_before: 1,
                is_put_off: true,
            }),
            leases: Leases {
                epoch: 5,
                without_outcome,
                last_done: 0,
            },
        };
        for (claim, without_outcome, frees_when_done, frees_when_failed) in [
            (Some(ClaimState::Retrying), 1, true, true),
            // The failure of this call was recorded before.
            (Some(ClaimState::Retrying), 0, true, false),
            // A late success of an older call has ended the event.
            (Some(ClaimState::Done), 0, true, true),
            (Some(ClaimState::Dead), 0, true, true),
            (Some(ClaimState::Stale), 0, true, true),
            (Some(ClaimState::Running), 0, false, false),
            (None, 0, false, false),
        ] {
            let stored = stored(claim, without_outcome);
            for (result, frees) in [
                (CallResult::Done, frees_when_done),
                (CallResult::Failed(CallFailure::sample()), frees_when_failed),
            ] {
                let newest = frees_key(&end(5, result.clone()), stored);
                assert_eq!(newest, frees, "{result:?} on {stored:?}");
                let older = end(4, result);
                assert!(!frees_key(&older, stored), "{older:?} on {stored:?}");
            }
        }
    }

    #[test]
    fn a_key_rises_to_the_newest_of_its_events_that_are_done() {
        let events = [
            (1, 2, "7"),
            (2, 1, "1"),
            (3, 2, "12"),
            (4, 2, "11"),
            (5, 1, "1.0"),
            (6, 2, "9"),
            (7, 3, "4"),
        ];
        let events = events.map(|(event, key, text)| VersionedEvent::sample(event, key, text));
        let failure = CallFailure::sample();
        let failed = CallWrite::Failed(&failure);
        let stored = state(Some("8"));
        let mut changes = VersionChanges::default();
        for (at, key, written) in [
            // This event is older than the stored version of its key.
            (0, Some(&stored), DONE),
            (1, None, DONE),
            // This event would be the newest of its key, but its call has failed.
            (2, Some(&stored), failed),
            (3, Some(&stored), DONE),
            // This event has the same version as the second one.
            (4, None, DONE),
            (5, Some(&stored), DONE),
            (6, None, DEFERRED),
        ] {
            let number = number(events[at].event.as_bytes()[0].into());
            changes.add_call(number, &events[at], key, written, true);
        }
        let raised = [(number(5), &events[4]), (number(4), &events[3])];
        assert_eq!(changes.raised(), raised);
        let freed: Vec<EventNumber> = changes.freed().iter().map(|(_, event)| *event).collect();
        assert_eq!(freed, [1, 2, 3, 4, 5, 6, 7].map(number));
    }

    /// A transaction that makes events done frees no keys, because only external calls hold keys.
    #[test]
    fn only_events_whose_versions_were_compared_raise_their_keys() {
        let events = [(1, 1, "2"), (2, 1, "3"), (3, 2, "1"), (4, 3, "1")];
        let events = events.map(|(event, key, text)| VersionedEvent::sample(event, key, text));
        let [one, two]: [RouteName; 2] =
            ["one", "two"].map(|name| name.parse().expect("the route name must be valid"));
        // The version of the last event was compared on another route.
        let routes = [&one, &one, &one, &two];
        let compared = routes.into_iter().zip(&events);
        let compared = compared.map(|(on, event)| ((on.clone(), event.event), event.clone()));
        let compared: BTreeMap<_, _> = compared.collect();
        for (done, raises) in [
            (vec![], vec![]),
            (vec![1], vec![1]),
            (vec![1, 2], vec![2]),
            (vec![2, 1], vec![2]),
            (vec![3, 1], vec![1, 3]),
            (vec![4, 5], vec![]),
            (vec![5, 4, 3], vec![3]),
        ] {
            let done: Vec<(EventId, EventNumber)> = done
                .into_iter()
                .map(|event: u8| (EventId::from_bytes([event; 16]), number(event.into())))
                .collect();
            let changes = VersionChanges::of_done(&compared, &one, &done);
            let raised = changes.raised().into_iter();
            let raised: Vec<_> = raised
                .map(|(number, event)| (number, event.event))
                .collect();
            let expect: Vec<_> = raises
                .into_iter()
                .map(|event: u8| (number(event.into()), EventId::from_bytes([event; 16])))
                .collect();
            assert_eq!(raised, expect, "{done:?}");
            assert!(changes.freed().is_empty(), "{done:?}");
            let none = BTreeMap::new();
            let changes = VersionChanges::of_done(&none, &one, &done);
            assert!(changes.raised().is_empty(), "{done:?}");
        }
    }
}
