//! What a store writes when it records how some external calls ended.

use std::time::Duration;

use hookbox_event::EventNumber;

use crate::{
    CallEnd, CallFailure, CallRecorded, CallState, CallWrite, DeferReason, DeferralWrite, KeyState,
    TargetAnswer, VersionChanges, frees_key, round_after,
};

/// What a store has recorded about the event that a call was made for.
#[derive(Debug, Clone, Copy)]
pub struct StoredCall<'s> {
    /// The number of the event.
    pub event: EventNumber,
    /// The state of the event on the route.
    pub state: CallState,
    /// Why the attempt is deferred, and how long ago the deferral started; `None` if it is not
    /// deferred.
    pub deferred: Option<(DeferReason, Duration)>,
    /// What the store knows of the event's key, on a route that applies only the newest event of
    /// each key; `None` if it knows nothing.
    pub key: Option<&'s KeyState>,
}

/// An event that becomes done, because a call for it has succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoneCall {
    /// The number of the event.
    pub event: EventNumber,
    /// The number of the attempt that is recorded as successful.
    pub attempt: u32,
    /// The number of the round of attempts; see [`round_after`].
    pub round: u32,
    /// The duration of the call.
    pub took: Duration,
}

/// The end of a call that is recorded as a failed attempt.
#[derive(Debug, Clone, Copy)]
pub struct FailedEnd<'a> {
    /// The number of the event.
    pub event: EventNumber,
    /// The end of the call.
    pub end: &'a CallEnd,
    /// The failure that is recorded. For an expired deferral, this is
    /// [`crate::CallDeferral::expired`].
    pub failure: &'a CallFailure,
    /// See [`crate::Failure::is_expired_deferral`].
    pub is_expired_deferral: bool,
}

/// The changes that follow from the ends of some calls of one route.
#[derive(Debug, Default)]
pub struct CallChanges<'a> {
    /// What is recorded of each call, in the order in which the ends of the calls were passed.
    pub recorded: Vec<CallRecorded>,
    /// The events that become done.
    pub done: Vec<DoneCall>,
    /// The calls that have failed.
    pub failed: Vec<FailedEnd<'a>>,
    /// The events that are deferred, each with what is written of its deferral.
    pub deferred: Vec<(EventNumber, DeferralWrite)>,
    /// The changes to the keys of the events.
    pub versions: VersionChanges<'a>,
    /// What the calls show about their target, each with the number of its event. An end that is
    /// superseded shows nothing: either it was recorded before, or a newer call shows more.
    pub answers: Vec<(EventNumber, TargetAnswer)>,
    /// The last [`CallEnd::target_error`] of the calls in `answers`, if any.
    pub target_error: Option<&'a str>,
}

impl<'a> CallChanges<'a> {
    /// Returns the changes that follow from these ends. `is_closed` says whether the breaker of
    /// their target is closed. `stored` returns what is stored of the event of a call; `None` when
    /// the store does not have the event, for example after a restore of the store.
    pub fn of<'s>(
        ends: &'a [CallEnd],
        is_closed: bool,
        stored: impl Fn(&CallEnd) -> Option<StoredCall<'s>>,
    ) -> Self {
        let mut changes = Self::default();
        for end in ends {
            match stored(end) {
                Some(stored) => changes.add(end, &stored, is_closed),
                None => changes.recorded.push(CallRecorded::Superseded),
            }
        }
        changes
    }

    fn add(&mut self, end: &'a CallEnd, stored: &StoredCall<'_>, is_closed: bool) {
        let event = stored.event;
        let failed = |failure, is_expired_deferral| FailedEnd {
            event,
            end,
            failure,
            is_expired_deferral,
        };
        let written = end.written_on(stored.state, stored.deferred, is_closed);
        let recorded = written.recorded();
        self.recorded.push(recorded);
        if recorded != CallRecorded::Superseded {
            self.answers.push((event, end.answer));
            self.target_error = end.target_error.as_deref().or(self.target_error);
        }
        match written {
            CallWrite::Done { attempt } => self.done.push(DoneCall {
                event,
                attempt,
                round: round_after(end.attempts_before),
                took: end.took,
            }),
            CallWrite::Failed(failure) => self.failed.push(failed(failure, false)),
            CallWrite::Expired(failure) => self.failed.push(failed(failure, true)),
            CallWrite::Deferred(written) => self.deferred.push((event, written)),
            CallWrite::Nothing => {}
        }
        if let Some(version) = &end.version {
            let frees = frees_key(end, stored.state);
            self.versions
                .add_call(event, version, stored.key, written, frees);
        }
    }

    /// Returns whether these ends change nothing about events and keys.
    pub fn is_empty(&self) -> bool {
        let is_superseded = |one: &CallRecorded| *one == CallRecorded::Superseded;
        self.versions.freed().is_empty() && self.recorded.iter().all(is_superseded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        CallDeferral, CallResult, ClaimState, FailureClass, Leases, Then, VersionedEvent,
        WaitingAttempt,
    };

    const SECOND: Duration = Duration::from_secs(1);
    const FAULT: DeferReason = DeferReason::TargetFault;

    fn failure(error: &str) -> CallFailure {
        CallFailure {
            class: FailureClass::Transient,
            error: error.to_owned(),
            then: Then::Retry { after: SECOND },
        }
    }

    fn deferral() -> CallResult {
        CallResult::Deferred(CallDeferral {
            reason: FAULT,
            least: SECOND,
            most: 60 * SECOND,
            age_max: 120 * SECOND,
            expired: failure("expired"),
        })
    }

    /// Returns the end of a call under the fifth lease of an event. Each event has its own key.
    fn end(number: u8, result: CallResult) -> CallEnd {
        let version = VersionedEvent::sample(number, number, "2");
        CallEnd {
            event: version.event,
            number: EventNumber::from_i64(number.into()),
            attempt: 3,
            attempts_before: 1,
            epoch: 5,
            took: u32::from(number) * SECOND,
            result,
            answer: TargetAnswer::Answered,
            target_error: None,
            version: Some(version),
        }
    }

    /// Returns the state of an event that waits for this attempt in its second round.
    fn state(attempt: u32, epoch: u32) -> CallState {
        CallState {
            claim: Some(ClaimState::Retrying),
            waiting: Some(WaitingAttempt {
                attempt,
                attempts_before: 1,
                is_put_off: true,
            }),
            leases: Leases {
                epoch,
                without_outcome: 1,
                last_done: 0,
            },
        }
    }

    /// Returns what the store has recorded in these tests; the number of the event selects it.
    fn stored(end: &CallEnd) -> Option<StoredCall<'static>> {
        let number = end.number.as_i64();
        let is_done = CallState {
            claim: Some(ClaimState::Done),
            waiting: None,
            ..state(3, 5)
        };
        let (state, deferred) = match number {
            // A newer call is in flight, for the next attempt.
            2 | 4 => (state(4, 6), None),
            5 => (state(3, 5), Some((FAULT, 7 * SECOND))),
            6 => (state(3, 5), Some((FAULT, 120 * SECOND))),
            7 => (is_done, None),
            8 => return None,
            _ => (state(3, 5), None),
        };
        Some(StoredCall {
            // This is the event's number in the store. The number in `end` may be outdated, because
            // the store may have been restored during the call.
            event: EventNumber::from_i64(100 + number),
            state,
            deferred,
            key: None,
        })
    }

    #[test]
    fn each_end_of_a_call_is_recorded_by_the_state_of_its_event() {
        let failed = || CallResult::Failed(failure("500"));
        let mut ends = [
            end(1, CallResult::Done),
            end(2, CallResult::Done),
            end(3, failed()),
            end(4, failed()),
            end(5, deferral()),
            end(6, deferral()),
            end(7, CallResult::Done),
            end(8, CallResult::Done),
        ];
        for (at, error) in [(0, "refused"), (2, "no name"), (3, "late"), (7, "unknown")] {
            ends[at].target_error = Some(error.to_owned());
        }
        let changes = CallChanges::of(&ends, true, stored);
        let then = failure("500").then;
        let expect = [
            CallRecorded::Done { attempt: 3 },
            CallRecorded::Done { attempt: 4 },
            CallRecorded::Failed(then),
            CallRecorded::Superseded,
            CallRecorded::Deferred,
            CallRecorded::Failed(then),
            CallRecorded::Superseded,
            CallRecorded::Superseded,
        ];
        assert_eq!(changes.recorded, expect);
        let number = |number: i64| EventNumber::from_i64(100 + number);
        let done = |event: i64, attempt: u32, seconds: u32| DoneCall {
            event: number(event),
            attempt,
            round: 2,
            took: seconds * SECOND,
        };
        assert_eq!(changes.done, [done(1, 3, 1), done(2, 4, 2)]);
        let failed = changes.failed.iter();
        let failed = failed.map(|it| {
            let error = &*it.failure.error;
            (it.event, it.end.event, error, it.is_expired_deferral)
        });
        let failed: Vec<_> = failed.collect();
        let expect = [
            (number(3), ends[2].event, "500", false),
            (number(6), ends[5].event, "expired", true),
        ];
        assert_eq!(failed, expect);
        let written = DeferralWrite {
            reason: FAULT,
            is_continued: true,
            after: 7 * SECOND,
        };
        assert_eq!(changes.deferred, [(number(5), written)]);
        let answered = |event| (number(event), TargetAnswer::Answered);
        assert_eq!(changes.answers, [1, 2, 3, 5, 6].map(answered));
        assert_eq!(changes.target_error, Some("no name"));
        let raised = changes.versions.raised().into_iter();
        let raised: Vec<EventNumber> = raised.map(|(event, _)| event).collect();
        assert_eq!(raised, [1, 2].map(number));
        // The key of the second event is not freed, because the newer call still holds it. The
        // seventh event was done by a late success of an older call, and this call held its key.
        let freed = changes.versions.freed().iter();
        let freed: Vec<EventNumber> = freed.map(|(_, event)| *event).collect();
        assert_eq!(freed, [1, 3, 5, 6, 7].map(number));
    }

    #[test]
    fn what_frees_only_a_key_changes_something() {
        for (number, is_empty) in [(1, false), (4, true), (7, false), (8, true)] {
            let ends = [end(number, CallResult::Failed(failure("500")))];
            let changes = CallChanges::of(&ends, true, stored);
            assert_eq!(changes.is_empty(), is_empty, "event {number}");
        }
    }

    #[test]
    fn no_deferral_expires_while_the_breaker_is_not_closed() {
        let ends = [end(1, deferral())];
        let stored = StoredCall {
            event: EventNumber::from_i64(1),
            state: state(3, 5),
            deferred: Some((FAULT, 120 * SECOND)),
            key: None,
        };
        for (is_closed, failed, deferred) in [(true, 1, 0), (false, 0, 1)] {
            let changes = CallChanges::of(&ends, is_closed, |_| Some(stored));
            let counts = (changes.failed.len(), changes.deferred.len());
            assert_eq!(counts, (failed, deferred), "closed: {is_closed}");
        }
    }

    #[test]
    fn an_event_that_is_older_than_a_done_one_raises_no_key() {
        let ends = [end(1, CallResult::Done)];
        let key = KeyState {
            version: Some(VersionedEvent::sample(1, 1, "3").version),
            calling: None,
        };
        for (key, raised) in [(None, 1), (Some(&key), 0)] {
            let stored = StoredCall {
                event: EventNumber::from_i64(1),
                state: state(3, 5),
                deferred: None,
                key,
            };
            let changes = CallChanges::of(&ends, true, |_| Some(stored));
            assert_eq!(changes.versions.raised().len(), raised, "{key:?}");
            assert_eq!(changes.done.len(), 1);
        }
    }
}
