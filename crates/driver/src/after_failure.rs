//! Decides what is recorded of a failed or deferred attempt, from the state of its event.

use crate::{ClaimState, DeadReason, Deferral, Failure, Then};

/// What a store holds of an event on a route before an attempt on the event is recorded.
#[derive(Debug, Clone, Copy)]
pub struct EventState {
    /// The state of the claim and the number of attempts that are counted; `None` when the event
    /// has no claim on the route, for example before its first attempt is recorded.
    pub claim: Option<(ClaimState, u32)>,
    /// True if the attempt ran on the stored body of the event, and also if no body is stored yet.
    pub is_same_body: bool,
    /// The number of the attempt for which the event waits; `None` when it waits for none.
    pub waits_for: Option<u32>,
}

/// A failed attempt as it is to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedAttempt {
    /// The number of the attempt.
    pub attempt: u32,
    /// What follows the attempt: a retry or a dead letter.
    pub then: Then,
}

impl Failure<'_> {
    /// Returns the attempt to be recorded; `None` when nothing may change, because the failure was
    /// recorded before or the state of the event has changed since the claim.
    pub fn recorded_on(&self, stored: EventState) -> Option<FailedAttempt> {
        let as_reported = FailedAttempt {
            attempt: self.attempt,
            then: self.then,
        };
        let Some((state, attempts)) = stored.claim else {
            let is_first = self.attempt == 1 && stored.is_same_body;
            return is_first.then_some(as_reported);
        };
        match state {
            // While the attempt ran, another body was stored for this event, so the attempt is not
            // recorded. The next claim of the receipt decides whether the receipt is a conflict or
            // a duplicate.
            ClaimState::Running if !stored.is_same_body => None,
            // No transaction holds the claim, and yet it is still running. So the handler has
            // committed its transaction by itself, and its effects are committed. Whatever `then`
            // says, the handler must not run again without an operator's decision, so the event
            // becomes a dead letter. The stored number of attempts does not include this run, so
            // one is added.
            ClaimState::Running => Some(FailedAttempt {
                attempt: attempts.saturating_add(1),
                then: Then::Dead {
                    reason: DeadReason::Orphaned,
                },
            }),
            // Only a failure of the attempt for which the event waits is recorded. The failure of
            // any other attempt is ignored, such as one from a late copy of the event's first
            // message.
            ClaimState::Retrying => {
                let is_awaited =
                    self.envelope.redo.is_some() && stored.waits_for == Some(self.attempt);
                is_awaited.then_some(as_reported)
            }
            ClaimState::Done | ClaimState::Dead | ClaimState::Stale => None,
        }
    }
}

impl Deferral<'_> {
    /// Returns whether the event may wait: it must still have the state in which it was claimed. If
    /// the state has changed, the next claim of the event returns the new state.
    pub fn may_wait(&self, stored: EventState) -> bool {
        let Some((state, _)) = stored.claim else {
            return self.attempt == 1 && stored.is_same_body;
        };
        match state {
            // Only the attempt for which a waiting event waits may defer the event again.
            ClaimState::Retrying => {
                self.envelope.redo.is_some() && stored.waits_for == Some(self.attempt)
            }
            ClaimState::Running | ClaimState::Done | ClaimState::Dead | ClaimState::Stale => false,
        }
    }
}

#[cfg(test)]
mod tests;
