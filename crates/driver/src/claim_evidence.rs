//! Decides the valid state of a claim. The row of a claim does not show whether hookbox or a
//! handler has committed it. The receipts of its event show that.

use crate::ClaimState;

/// What is stored of a claim: its row, and what the receipts of its event on the route show.
///
/// At a first attempt, a transaction inserts the claim in the state `done`, then runs the handlers,
/// and then writes the outcome of the receipt. So both are committed together. A claim that is
/// `done` without such an outcome shows that a handler has committed the transaction too early.
#[derive(Debug, Clone, Copy)]
pub struct ClaimEvidence {
    /// The state in the row of the claim.
    pub state: ClaimState,
    /// The number of attempts in the row of the claim.
    pub attempts: u32,
    /// Whether a receipt of the event shows that hookbox has made the event done. Its outcome is
    /// then `done`, or it is `conflict`: the receipt of a conflict keeps this outcome even if the
    /// conflict is replayed and becomes done.
    pub has_end: bool,
    /// Whether receipts of the event may have been deleted because they were old. Then a missing
    /// receipt proves nothing.
    pub may_lack_receipts: bool,
}

impl ClaimEvidence {
    /// Returns the valid state of the claim, and its valid number of attempts.
    ///
    /// If a claim is done and no receipt has ended it, a handler has committed it. Then its valid
    /// state is running, and its last run is not counted. (The row of a claim for a retry already
    /// has this state and this number.) A transaction also sees its own claims as running until it
    /// writes their receipts.
    pub fn counted(self) -> (ClaimState, u32) {
        let (state, attempts) = (self.state, self.attempts);
        match state {
            ClaimState::Done if !self.has_end && !self.may_lack_receipts => {
                (ClaimState::Running, attempts.saturating_sub(1))
            }
            ClaimState::Running
            | ClaimState::Done
            | ClaimState::Retrying
            | ClaimState::Dead
            | ClaimState::Stale => (state, attempts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ClaimState::{Dead, Done, Retrying, Running, Stale};

    #[test]
    fn a_done_claim_counts_only_with_the_receipt_that_ended_it() {
        for (state, attempts, has_end, may_lack_receipts, expect) in [
            (Done, 1, true, false, (Done, 1)),
            (Done, 1, true, true, (Done, 1)),
            (Done, 1, false, false, (Running, 0)),
            (Done, 3, false, false, (Running, 2)),
            (Done, 0, false, false, (Running, 0)),
            (Done, 1, false, true, (Done, 1)),
            (Running, 0, false, false, (Running, 0)),
            (Running, 2, false, true, (Running, 2)),
            (Running, 2, true, false, (Running, 2)),
            (Retrying, 2, false, false, (Retrying, 2)),
            (Dead, 1, false, false, (Dead, 1)),
            (Dead, 0, true, false, (Dead, 0)),
            (Stale, 0, false, false, (Stale, 0)),
        ] {
            let evidence = ClaimEvidence {
                state,
                attempts,
                has_end,
                may_lack_receipts,
            };
            assert_eq!(evidence.counted(), expect, "{evidence:?}");
        }
    }
}
