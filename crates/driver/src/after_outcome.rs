//! Decides what settling a receipt writes about its event, from the outcome of the receipt.

use crate::{ClaimState, DeadReason, EndOutcome, Outcome, StoredOutcome};

/// What settling a receipt writes about the event that its transaction has claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimEnd<'a> {
    /// The final state of the claim.
    pub state: ClaimState,
    /// The event's number of attempts after this outcome. A claim counts as an attempt only if its
    /// handler has run.
    pub attempts: u32,
    /// The dead letter that the event becomes, if it becomes one.
    pub died: Option<Death<'a>>,
    /// How the event ends.
    pub outcome: EndOutcome,
    /// The outcome that the event's waiting receipts get when its retry ends; `None` for a first
    /// attempt, which has no retry and no waiting receipts.
    pub ends_retry: Option<StoredOutcome>,
    /// Whether the successful attempt is recorded beside the failed ones. A first attempt that
    /// succeeds is not recorded, because the claim itself shows it.
    pub records_attempt: bool,
}

/// Why an event becomes a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death<'a> {
    /// The reason of the dead letter.
    pub reason: DeadReason,
    /// The detail for operators, such as the path in the body and the violated schema rule.
    pub detail: &'a str,
}

impl Outcome {
    /// Returns what this outcome of a receipt writes about its event; `None` for a duplicate, whose
    /// event another receipt has claimed. `claimed` is the number of the attempt that was claimed,
    /// and `is_retry` says whether the claim is for a retry or a replay.
    pub fn end_of_claim(&self, claimed: u32, is_retry: bool) -> Option<ClaimEnd<'_>> {
        let died = match self {
            Outcome::Duplicate => return None,
            Outcome::Done { attempt } => {
                return Some(ClaimEnd {
                    state: ClaimState::Done,
                    attempts: *attempt,
                    died: None,
                    outcome: EndOutcome::Done,
                    ends_retry: is_retry.then_some(StoredOutcome::Done),
                    records_attempt: is_retry,
                });
            }
            Outcome::Stale => {
                return Some(ClaimEnd {
                    state: ClaimState::Stale,
                    // The handler did not run for this claim, so the attempt is not counted.
                    attempts: claimed.saturating_sub(1),
                    died: None,
                    outcome: EndOutcome::Stale,
                    ends_retry: is_retry.then_some(StoredOutcome::Stale),
                    records_attempt: false,
                });
            }
            Outcome::Conflict { detail } => Death {
                reason: DeadReason::Conflict,
                detail,
            },
            Outcome::Dead { reason, detail } => Death {
                reason: *reason,
                detail,
            },
        };
        Some(ClaimEnd {
            state: ClaimState::Dead,
            // The handler did not run for this claim, so the claimed attempt is not counted.
            attempts: claimed.saturating_sub(1),
            died: Some(died),
            outcome: EndOutcome::Dead,
            ends_retry: is_retry.then_some(StoredOutcome::Dead),
            records_attempt: false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(
        reason: DeadReason,
        attempts: u32,
        ends_retry: Option<StoredOutcome>,
    ) -> ClaimEnd<'static> {
        ClaimEnd {
            state: ClaimState::Dead,
            attempts,
            died: Some(Death {
                reason,
                detail: "why",
            }),
            outcome: EndOutcome::Dead,
            ends_retry,
            records_attempt: false,
        }
    }

    fn done(
        attempts: u32,
        ends_retry: Option<StoredOutcome>,
        records_attempt: bool,
    ) -> ClaimEnd<'static> {
        ClaimEnd {
            state: ClaimState::Done,
            attempts,
            died: None,
            outcome: EndOutcome::Done,
            ends_retry,
            records_attempt,
        }
    }

    fn stale(attempts: u32, ends_retry: Option<StoredOutcome>) -> ClaimEnd<'static> {
        ClaimEnd {
            state: ClaimState::Stale,
            outcome: EndOutcome::Stale,
            ..done(attempts, ends_retry, false)
        }
    }

    #[test]
    fn each_outcome_ends_its_claim() {
        let conflict = Outcome::Conflict {
            detail: "why".to_owned(),
        };
        let invalid = Outcome::Dead {
            reason: DeadReason::SchemaBroken,
            detail: "why".to_owned(),
        };
        for (outcome, claimed, is_retry, expect) in [
            (Outcome::Duplicate, 1, false, None),
            (Outcome::Duplicate, 2, true, None),
            (Outcome::Stale, 1, false, Some(stale(0, None))),
            (
                Outcome::Stale,
                3,
                true,
                Some(stale(2, Some(StoredOutcome::Stale))),
            ),
            (
                Outcome::Done { attempt: 1 },
                1,
                false,
                Some(done(1, None, false)),
            ),
            (
                Outcome::Done { attempt: 3 },
                3,
                true,
                Some(done(3, Some(StoredOutcome::Done), true)),
            ),
            (
                conflict.clone(),
                1,
                false,
                Some(dead(DeadReason::Conflict, 0, None)),
            ),
            (
                invalid.clone(),
                1,
                false,
                Some(dead(DeadReason::SchemaBroken, 0, None)),
            ),
            (
                invalid,
                3,
                true,
                Some(dead(DeadReason::SchemaBroken, 2, Some(StoredOutcome::Dead))),
            ),
        ] {
            assert_eq!(
                outcome.end_of_claim(claimed, is_retry),
                expect,
                "{outcome:?}"
            );
        }
    }
}
