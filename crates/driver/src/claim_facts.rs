//! Decides the result of claiming a message, from what is stored of its event and its receipt.

use hookbox_event::Redo;

use crate::{ClaimState, Claimed, WaitingAttempt};

/// What a store has found about one message that is to be claimed on a route.
#[derive(Debug, Clone, Copy)]
pub struct ClaimFacts {
    /// Whether the message's receipt has its outcome already.
    pub is_settled: bool,
    /// Whether the message's body is the stored body of its event.
    pub is_same_body: bool,
    /// The state of the event on the route; `None` when it has no claim there.
    pub state: Option<ClaimState>,
    /// Whether the claim was made earlier in the same transaction that now claims the message. If
    /// not, and the claim is still running, a handler has committed it by itself.
    pub is_own: bool,
    /// The attempt for which the event waits; `None` when it waits for none.
    pub waiting: Option<WaitingAttempt>,
}

impl ClaimFacts {
    /// Returns the result of claiming a message that is neither a retry nor a replay; `None` when
    /// nothing prevents the claim, which is then [`Claimed::Fresh`].
    pub fn of_message(&self) -> Option<Claimed> {
        if self.is_settled {
            return Some(Claimed::Redelivered);
        }
        // A body that differs from the stored one is a conflict, whatever the state of the claim
        // is: that state is about the stored body. This holds even if the route has not claimed the
        // event yet, because a retry would run the handler on the stored body.
        if !self.is_same_body {
            return Some(Claimed::Conflict);
        }
        match self.state? {
            ClaimState::Running if !self.is_own => Some(Claimed::Orphaned),
            ClaimState::Running
            | ClaimState::Done
            | ClaimState::Retrying
            | ClaimState::Dead
            | ClaimState::Stale => Some(Claimed::Duplicate),
        }
    }

    /// Returns the result of claiming a retry or a replay; `None` when the event has no claim, for
    /// example because the store was restored to a state from before the retry. A retry proves that
    /// the event was accepted, so in this case it is claimed like a first message. The event may
    /// have been processed already, but processing it twice is better than losing it. If another
    /// body of the event is stored, the retry is a conflict, as a first message would be.
    pub fn of_retry(&self, redo: Redo) -> Option<Claimed> {
        let Some(state) = self.state else {
            return (!self.is_same_body).then_some(Claimed::Conflict);
        };
        Some(match (state, self.waiting) {
            (ClaimState::Retrying, Some(waiting))
                if waiting.attempt == redo.attempt && !waiting.is_put_off =>
            {
                Claimed::Granted {
                    attempt: waiting.attempt,
                    attempts_before: waiting.attempts_before,
                }
            }
            (ClaimState::Running, _) if !self.is_own => Claimed::Orphaned,
            (
                ClaimState::Running
                | ClaimState::Retrying
                | ClaimState::Done
                | ClaimState::Dead
                | ClaimState::Stale,
                _,
            ) => Claimed::Redelivered,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClaimState::{Dead, Done, Retrying, Running, Stale};

    #[test]
    fn a_message_is_classified_by_receipt_then_body_then_claim() {
        for (is_settled, is_same_body, state, is_own, expect) in [
            (true, true, Some(Done), false, Some(Claimed::Redelivered)),
            (
                true,
                false,
                Some(Running),
                false,
                Some(Claimed::Redelivered),
            ),
            (true, true, None, false, Some(Claimed::Redelivered)),
            (false, false, Some(Running), false, Some(Claimed::Conflict)),
            (false, false, None, false, Some(Claimed::Conflict)),
            (false, true, Some(Running), false, Some(Claimed::Orphaned)),
            (false, true, Some(Running), true, Some(Claimed::Duplicate)),
            (false, true, Some(Done), false, Some(Claimed::Duplicate)),
            (false, true, Some(Retrying), false, Some(Claimed::Duplicate)),
            (false, true, Some(Dead), false, Some(Claimed::Duplicate)),
            (false, true, Some(Stale), false, Some(Claimed::Duplicate)),
            (false, true, None, false, None),
        ] {
            let facts = ClaimFacts {
                is_settled,
                is_same_body,
                state,
                is_own,
                waiting: None,
            };
            assert_eq!(facts.of_message(), expect, "{facts:?}");
        }
    }

    #[test]
    fn only_the_attempt_for_which_the_event_waits_is_granted() {
        let waits_for = |attempt, is_put_off| {
            Some(WaitingAttempt {
                attempt,
                attempts_before: 1,
                is_put_off,
            })
        };
        let granted = Claimed::Granted {
            attempt: 2,
            attempts_before: 1,
        };
        for (state, is_own, waiting, expect) in [
            (Some(Retrying), false, waits_for(2, false), Some(granted)),
            (
                Some(Retrying),
                false,
                waits_for(2, true),
                Some(Claimed::Redelivered),
            ),
            (
                Some(Retrying),
                false,
                waits_for(3, false),
                Some(Claimed::Redelivered),
            ),
            (Some(Retrying), false, None, Some(Claimed::Redelivered)),
            (
                Some(Running),
                false,
                waits_for(2, false),
                Some(Claimed::Orphaned),
            ),
            (
                Some(Running),
                true,
                waits_for(2, false),
                Some(Claimed::Redelivered),
            ),
            (Some(Done), false, None, Some(Claimed::Redelivered)),
            (Some(Dead), false, None, Some(Claimed::Redelivered)),
            (Some(Stale), false, None, Some(Claimed::Redelivered)),
            (None, false, None, Some(Claimed::Conflict)),
        ] {
            let facts = ClaimFacts {
                // For a retry of an event with a claim, `is_settled` and `is_same_body` must not
                // matter: its receipt always has an outcome (`retrying`), and its body is the
                // stored one. Without a claim, the stored body may be another one.
                is_settled: true,
                is_same_body: false,
                state,
                is_own,
                waiting,
            };
            assert_eq!(facts.of_retry(Redo { attempt: 2 }), expect, "{facts:?}");
        }
        let unknown = ClaimFacts {
            is_settled: false,
            is_same_body: true,
            state: None,
            is_own: false,
            waiting: None,
        };
        assert_eq!(unknown.of_retry(Redo { attempt: 2 }), None);
    }
}
