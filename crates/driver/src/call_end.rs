//! The end of an external call, and the rule for what is recorded of it.
//!
//! The newest call of an event has the highest epoch. Only this call may record a failure, because
//! it may succeed where an older call failed. An older call that succeeded has had its effect, so
//! it makes the event done unless the event has ended already.

use std::time::Duration;

use hookbox_event::{EventId, EventNumber};

use crate::{
    ClaimState, DeferReason, DeferralWrite, FailureClass, Leases, TargetAnswer, Then,
    VersionedEvent, WaitingAttempt,
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
    /// The greatest age of the deferral, counted from its start; see [`DeferReason::continuing`].
    /// It applies only while the breaker of the target is closed. Then the target answers calls for
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
    /// The attempt of the call counts as failed, because its deferral has reached its greatest age.
    /// See [`crate::Failure::is_expired_deferral`].
    Expired(&'a CallFailure),
    /// The event waits, and then the same attempt is made.
    Deferred(DeferralWrite),
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
    /// before, and how long ago the deferral started; `None` if it was not deferred. `is_closed`
    /// says whether the breaker of the target is closed.
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
                match deferral.written_after(deferred, is_closed) {
                    Some(written) => CallWrite::Deferred(written),
                    None => CallWrite::Expired(&deferral.expired),
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
            CallWrite::Failed(failure) | CallWrite::Expired(failure) => {
                CallRecorded::Failed(failure.then)
            }
            CallWrite::Deferred(_) => CallRecorded::Deferred,
            CallWrite::Nothing => CallRecorded::Superseded,
        }
    }
}

impl CallDeferral {
    /// Returns what a store writes to defer the event, as [`crate::Deferral::written_after`] does.
    /// The deferral reaches its greatest age only if the breaker is closed.
    pub fn written_after(
        &self,
        before: Option<(DeferReason, Duration)>,
        is_closed: bool,
    ) -> Option<DeferralWrite> {
        let age_max = is_closed.then_some(self.age_max);
        DeferralWrite::after(before, self.reason, (self.least, self.most), age_max)
    }
}

#[cfg(test)]
impl CallFailure {
    /// Returns a failure after which the event is a dead letter.
    pub(crate) fn sample() -> Self {
        Self {
            class: FailureClass::Transient,
            error: "500".to_owned(),
            then: Then::Dead {
                reason: crate::DeadReason::Exhausted,
            },
        }
    }
}

#[cfg(test)]
mod tests;
