//! The end of an external call, and the rule for what is recorded of it.
//!
//! The newest call of an event has the highest epoch. Only this call may record a failure, because
//! it may succeed where an older call failed. An older call that succeeded has had its effect, so
//! it makes the event done unless the event has ended already.

use std::time::Duration;

use hookbox_event::{EventId, EventNumber};

use crate::{
    ClaimState, DeferReason, FailureClass, Leases, TargetAnswer, Then, VersionedEvent,
    WaitingAttempt,
};

/// The end of one external call, as a store records it.
#[derive(Debug, Clone)]
pub struct CallEnd {
    /// The event that the call was made for.
    pub event: EventId,
    /// The number of the event.
    pub number: EventNumber,
    /// The number of the attempt.
    pub attempt: u32,
    /// The number of attempts before the last replay of the event. It identifies the call's round.
    pub attempts_before: u32,
    /// The number of the lease under which the call was made.
    pub epoch: u32,
    /// The duration of the call.
    pub took: Duration,
    /// What the call achieved.
    pub result: CallResult,
    /// What the call shows about its target.
    pub answer: TargetAnswer,
    /// Why the target was not reached, or how the target asked for a pause; `None` when neither
    /// happened. The text quotes nothing that the target wrote, so it may be logged.
    pub target_error: Option<String>,
    /// The key and the version of the event, on a route that applies only the newest event of each
    /// key.
    pub version: Option<VersionedEvent>,
}

/// What an external call achieved.
#[derive(Debug, Clone)]
pub enum CallResult {
    /// The effect has happened.
    Done,
    /// The call failed, which counts as an attempt.
    Failed(CallFailure),
    /// The call failed for a reason outside of the event, so no attempt is counted.
    Deferred(CallDeferral),
}

/// A failed call that counts as an attempt.
#[derive(Debug, Clone)]
pub struct CallFailure {
    /// The class of the failure.
    pub class: FailureClass,
    /// The error and its causes. They are stored beside the bodies, and are never written to a log.
    pub error: String,
    /// What follows from the failure: a retry or a dead letter.
    pub then: Then,
}

/// A failed call that does not count as an attempt.
#[derive(Debug, Clone)]
pub struct CallDeferral {
    /// The reason for the deferral.
    pub reason: DeferReason,
    /// The shortest time that the event waits.
    pub least: Duration,
    /// The longest time that the event waits.
    pub most: Duration,
    /// The greatest age of the deferral, counted from the first deferral for the same reason. It
    /// applies only while the breaker of the target is closed. Then the target answers calls for
    /// other events, so this event is the cause.
    pub age_max: Duration,
    /// The failure that is recorded instead of a deferral that has reached its greatest age.
    pub expired: CallFailure,
}

/// What is stored of an event when the end of a call is recorded.
#[derive(Debug, Clone, Copy)]
pub struct CallState {
    /// The state of the claim; `None` when the event has no claim on the route, for example after a
    /// restore of the store.
    pub claim: Option<ClaimState>,
    /// The attempt for which the event waits; `None` when it waits for none.
    pub waiting: Option<WaitingAttempt>,
    /// The leases of the event on the route.
    pub leases: Leases,
}

/// What was recorded of the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallRecorded {
    /// The event is done.
    Done {
        /// The number of the attempt that is recorded as successful.
        attempt: u32,
    },
    /// The failure is recorded, and this follows: a retry or a dead letter.
    Failed(Then),
    /// The event is deferred.
    Deferred,
    /// Nothing was changed: the end of the call was recorded before, a newer call decides, or the
    /// event has ended.
    Superseded,
}

/// What the end of a call may change about its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEffect {
    /// The event becomes done with this attempt.
    Done {
        /// The number of the attempt.
        attempt: u32,
    },
    /// The failure or the deferral is recorded.
    Recorded,
    /// Nothing is changed.
    Nothing,
}

/// What a store writes when it records the end of a call.
#[derive(Debug, Clone, Copy)]
pub enum CallWrite<'a> {
    /// The event becomes done with this attempt.
    Done {
        /// The number of the attempt.
        attempt: u32,
    },
    /// The attempt of the call has failed.
    Failed(&'a CallFailure),
    /// The event waits, and then the same attempt is made.
    Deferred {
        /// The reason for the wait.
        reason: DeferReason,
        /// How long the event waits from now on, by the store's clock.
        after: Duration,
    },
    /// Nothing is changed.
    Nothing,
}

impl CallEnd {
    /// Returns the last `target_error` of these calls, if any. A store keeps it with the target.
    pub fn last_target_error(ends: &[Self]) -> Option<&str> {
        let mut last_first = ends.iter().rev();
        last_first.find_map(|end| end.target_error.as_deref())
    }

    /// Returns what a store writes to record this end. `deferred` says why the attempt was deferred
    /// before, and how long ago the deferral began; `None` if it was not deferred. `is_closed` says
    /// whether the breaker of the target is closed.
    pub fn written_on(
        &self,
        stored: CallState,
        deferred: Option<(DeferReason, Duration)>,
        is_closed: bool,
    ) -> CallWrite<'_> {
        match (self.effect_on(stored), &self.result) {
            (CallEffect::Done { attempt }, _) => CallWrite::Done { attempt },
            (CallEffect::Recorded, CallResult::Failed(failure)) => CallWrite::Failed(failure),
            (CallEffect::Recorded, CallResult::Deferred(deferral)) => {
                let reason = deferral.reason;
                let same = deferred.filter(|(of, _)| *of == reason);
                match deferral.wait(same.map(|(_, age)| age), is_closed) {
                    Some(after) => CallWrite::Deferred { reason, after },
                    None => CallWrite::Failed(&deferral.expired),
                }
            }
            (CallEffect::Recorded, CallResult::Done) | (CallEffect::Nothing, _) => {
                CallWrite::Nothing
            }
        }
    }

    /// Returns whether this is the end of the event's newest call. If it is not, the newer call may
    /// still be in flight, even if this end is a late success that makes the event done.
    pub fn is_of_newest_call(&self, stored: CallState) -> bool {
        self.epoch == stored.leases.epoch
    }

    /// Returns what this end of a call may change about its event.
    pub fn effect_on(&self, stored: CallState) -> CallEffect {
        let waiting = match (stored.claim, stored.waiting) {
            (Some(ClaimState::Retrying), Some(waiting)) => waiting,
            (
                Some(
                    ClaimState::Running
                    | ClaimState::Retrying
                    | ClaimState::Done
                    | ClaimState::Dead
                    | ClaimState::Stale,
                )
                | None,
                _,
            ) => return CallEffect::Nothing,
        };
        // A call from before a replay changes nothing, because the replay is to repeat the effect.
        if waiting.attempts_before != self.attempts_before {
            return CallEffect::Nothing;
        }
        // If this end was recorded before, `without_outcome` is 0. The attempt number does not
        // always show this, because a deferred event waits for the same attempt.
        let is_open = stored.leases.without_outcome > 0;
        let is_newest = self.is_of_newest_call(stored) && self.attempt == waiting.attempt;
        match &self.result {
            // All earlier attempts have outcomes, so this success is that of the waiting attempt.
            CallResult::Done => CallEffect::Done {
                attempt: waiting.attempt,
            },
            CallResult::Failed(_) | CallResult::Deferred(_) if is_newest && is_open => {
                CallEffect::Recorded
            }
            CallResult::Failed(_) | CallResult::Deferred(_) => CallEffect::Nothing,
        }
    }
}

impl CallWrite<'_> {
    /// Returns what this write records of the end of the call.
    pub fn recorded(self) -> CallRecorded {
        match self {
            CallWrite::Done { attempt } => CallRecorded::Done { attempt },
            CallWrite::Failed(failure) => CallRecorded::Failed(failure.then),
            CallWrite::Deferred { .. } => CallRecorded::Deferred,
            CallWrite::Nothing => CallRecorded::Superseded,
        }
    }
}

impl CallDeferral {
    /// Returns how long the event waits if it has been deferred for `age`, as
    /// [`crate::Deferral::wait`] does; `None` from `age_max` on, if the breaker is closed.
    pub fn wait(&self, age: Option<Duration>, is_closed: bool) -> Option<Duration> {
        if is_closed && age >= Some(self.age_max) {
            return None;
        }
        let age = age.unwrap_or_default();
        Some(age.clamp(self.least, self.most.max(self.least)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeadReason;
    use ClaimState::{Dead, Done, Retrying, Running, Stale};

    const SECOND: Duration = Duration::from_secs(1);

    fn failure() -> CallFailure {
        CallFailure {
            class: FailureClass::Transient,
            error: "500".to_owned(),
            then: Then::Dead {
                reason: DeadReason::Exhausted,
            },
        }
    }

    fn deferral() -> CallDeferral {
        CallDeferral {
            reason: DeferReason::TargetFault,
            least: SECOND,
            most: 60 * SECOND,
            age_max: 120 * SECOND,
            expired: failure(),
        }
    }

    /// Returns the end of a call for attempt 3. The round began after attempt 1.
    fn end(epoch: u32, result: CallResult) -> CallEnd {
        CallEnd {
            event: EventId::from_bytes([1; 16]),
            number: EventNumber::from_i64(1),
            attempt: 3,
            attempts_before: 1,
            epoch,
            took: SECOND,
            result,
            answer: TargetAnswer::Answered,
            target_error: None,
            version: None,
        }
    }

    fn state(claim: Option<ClaimState>, waiting: Option<(u32, u32)>, epoch: u32) -> CallState {
        CallState {
            claim,
            waiting: waiting.map(|(attempt, attempts_before)| WaitingAttempt {
                attempt,
                attempts_before,
                is_put_off: true,
            }),
            leases: Leases {
                epoch,
                without_outcome: 1,
                last_done: 0,
            },
        }
    }

    #[test]
    fn a_success_ends_the_event_once_in_its_round() {
        use CallEffect::Nothing;
        let done = |attempt| CallEffect::Done { attempt };
        for (epoch, stored, expect) in [
            (5, state(Some(Retrying), Some((3, 1)), 5), done(3)),
            // A late success of an older call, while a newer one runs.
            (4, state(Some(Retrying), Some((3, 1)), 5), done(3)),
            // The newer call has failed, and the event waits for the next attempt.
            (4, state(Some(Retrying), Some((4, 1)), 5), done(4)),
            // The event was replayed after this call.
            (4, state(Some(Retrying), Some((4, 3)), 5), Nothing),
            (5, state(Some(Done), None, 5), Nothing),
            (5, state(Some(Dead), None, 5), Nothing),
            (5, state(Some(Stale), None, 5), Nothing),
            (5, state(Some(Running), None, 5), Nothing),
            (5, state(None, None, 0), Nothing),
        ] {
            let effect = end(epoch, CallResult::Done).effect_on(stored);
            assert_eq!(effect, expect, "epoch {epoch} on {stored:?}");
        }
    }

    #[test]
    fn only_the_newest_call_records_its_failure() {
        use CallEffect::{Nothing, Recorded};
        use CallResult::{Deferred, Failed};
        for (epoch, stored, expect) in [
            (5, state(Some(Retrying), Some((3, 1)), 5), Recorded),
            (4, state(Some(Retrying), Some((3, 1)), 5), Nothing),
            // The failure was recorded before, or the event was replayed after this call.
            (5, state(Some(Retrying), Some((4, 1)), 5), Nothing),
            (5, state(Some(Retrying), Some((3, 2)), 5), Nothing),
            (5, state(Some(Done), None, 5), Nothing),
            (5, state(Some(Dead), None, 5), Nothing),
            (5, state(None, None, 0), Nothing),
        ] {
            for result in [Failed(failure()), Deferred(deferral())] {
                let effect = end(epoch, result).effect_on(stored);
                assert_eq!(effect, expect, "epoch {epoch} on {stored:?}");
            }
        }
    }

    #[test]
    fn the_last_error_of_the_target_is_kept() {
        let mut ends = [(); 3].map(|()| end(5, CallResult::Done));
        ends[0].target_error = Some("refused".to_owned());
        ends[1].target_error = Some("no name".to_owned());
        assert_eq!(CallEnd::last_target_error(&ends), Some("no name"));
        assert_eq!(CallEnd::last_target_error(&ends[2..]), None);
    }

    #[test]
    fn an_older_call_is_not_the_newest() {
        let stored = state(Some(Retrying), Some((3, 1)), 5);
        assert!(end(5, CallResult::Done).is_of_newest_call(stored));
        assert!(!end(4, CallResult::Done).is_of_newest_call(stored));
    }

    #[test]
    fn a_deferral_is_recorded_once() {
        let mut stored = state(Some(Retrying), Some((3, 1)), 5);
        stored.leases.without_outcome = 0;
        let effect = end(5, CallResult::Deferred(deferral())).effect_on(stored);
        assert_eq!(effect, CallEffect::Nothing);
    }

    #[test]
    fn a_deferral_ends_at_its_greatest_age_only_while_other_events_are_answered() {
        let wait = |age: u32, is_closed| deferral().wait(Some(age * SECOND), is_closed);
        assert_eq!(deferral().wait(None, true), Some(SECOND));
        assert_eq!(wait(7, true), Some(7 * SECOND));
        assert_eq!(wait(119, true), Some(60 * SECOND));
        assert_eq!(wait(120, true), None);
        assert_eq!(wait(120, false), Some(60 * SECOND));
    }
    #[test]
    fn an_expired_deferral_is_recorded_as_its_failure() {
        let end = end(5, CallResult::Deferred(deferral()));
        let stored = state(Some(Retrying), Some((3, 1)), 5);
        let written = |reason, age: u32, is_closed| {
            let deferred = Some((reason, age * SECOND));
            end.written_on(stored, deferred, is_closed).recorded()
        };
        let failed = CallRecorded::Failed(failure().then);
        let fault = DeferReason::TargetFault;
        assert_eq!(written(fault, 119, true), CallRecorded::Deferred);
        assert_eq!(written(fault, 120, true), failed);
        assert_eq!(written(fault, 120, false), CallRecorded::Deferred);
        // The age of a deferral for another reason does not count.
        let leased = DeferReason::Leased;
        assert_eq!(written(leased, 120, true), CallRecorded::Deferred);
    }
}
