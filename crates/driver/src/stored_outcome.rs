//! The outcome of a receipt as a store keeps it.

use crate::{ClaimState, Outcome, Then};

/// The outcome of one receipt in the table `receipts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoredOutcome {
    /// The handler's effects are committed.
    Done,
    /// Another receipt of the same event was claimed before.
    Duplicate,
    /// The body differs from the stored body of the event id.
    Conflict,
    /// The event waits for its next attempt.
    Retrying,
    /// The route has given up on the event.
    Dead,
    /// A newer event of the same key was done before.
    Stale,
}

impl StoredOutcome {
    /// Returns the text of this outcome that the database stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            StoredOutcome::Done => "done",
            StoredOutcome::Duplicate => "duplicate",
            StoredOutcome::Conflict => "conflict",
            StoredOutcome::Retrying => "retrying",
            StoredOutcome::Dead => "dead",
            StoredOutcome::Stale => "stale",
        }
    }

    /// Returns the outcome with this text; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "done" => Some(StoredOutcome::Done),
            "duplicate" => Some(StoredOutcome::Duplicate),
            "conflict" => Some(StoredOutcome::Conflict),
            "retrying" => Some(StoredOutcome::Retrying),
            "dead" => Some(StoredOutcome::Dead),
            "stale" => Some(StoredOutcome::Stale),
            _ => None,
        }
    }
}

impl From<&Outcome> for StoredOutcome {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done { .. } => StoredOutcome::Done,
            Outcome::Duplicate => StoredOutcome::Duplicate,
            Outcome::Conflict { .. } => StoredOutcome::Conflict,
            Outcome::Dead { .. } => StoredOutcome::Dead,
            Outcome::Stale => StoredOutcome::Stale,
        }
    }
}

impl Then {
    /// Returns the outcome that the event's receipts get after a failed attempt.
    pub const fn outcome(self) -> StoredOutcome {
        match self {
            Then::Retry { .. } => StoredOutcome::Retrying,
            Then::Dead { .. } => StoredOutcome::Dead,
        }
    }

    /// Returns the state that the event's claim gets after a failed attempt.
    pub const fn state(self) -> ClaimState {
        match self {
            Then::Retry { .. } => ClaimState::Retrying,
            Then::Dead { .. } => ClaimState::Dead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DeadReason;
    use std::time::Duration;

    #[test]
    fn each_stored_text_is_read_as_the_outcome_that_wrote_it() {
        use StoredOutcome::{Conflict, Dead, Done, Duplicate, Retrying, Stale};
        for outcome in [Done, Duplicate, Conflict, Retrying, Dead, Stale] {
            assert_eq!(StoredOutcome::parse(outcome.as_str()), Some(outcome));
        }
        for text in ["", "Done", "discarded"] {
            assert_eq!(StoredOutcome::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn each_outcome_of_a_receipt_has_its_stored_outcome() {
        let detail = String::new;
        for (outcome, stored) in [
            (Outcome::Done { attempt: 1 }, StoredOutcome::Done),
            (Outcome::Duplicate, StoredOutcome::Duplicate),
            (Outcome::Stale, StoredOutcome::Stale),
            (
                Outcome::Conflict { detail: detail() },
                StoredOutcome::Conflict,
            ),
            (
                Outcome::Dead {
                    reason: DeadReason::Rejected,
                    detail: detail(),
                },
                StoredOutcome::Dead,
            ),
        ] {
            assert_eq!(StoredOutcome::from(&outcome), stored, "{outcome:?}");
        }
    }

    #[test]
    fn what_follows_a_failure_gives_claim_and_receipts_the_same_word() {
        for (then, word) in [
            (
                Then::Retry {
                    after: Duration::ZERO,
                },
                "retrying",
            ),
            (
                Then::Dead {
                    reason: DeadReason::Exhausted,
                },
                "dead",
            ),
        ] {
            assert_eq!(then.state().as_str(), word);
            assert_eq!(then.outcome().as_str(), word);
        }
    }
}
