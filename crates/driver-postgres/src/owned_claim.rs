//! A claim that a transaction has made, and that only this transaction may settle.

use hookbox_driver::ClaimState;

/// One claim that this transaction made, of an event that is new (`Fresh`) or whose retry was
/// granted (`Granted`).
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnedClaim {
    /// The number of the attempt that was claimed.
    pub attempt: u32,
    /// The number of attempts made before the last replay, or 0.
    pub attempts_before: u32,
    /// Whether the claim is for a retry or a replay. If not, it is for a first attempt.
    pub granted: bool,
    /// The state in which this transaction has written the claim.
    pub written: ClaimState,
    /// The final state of the claim and the number of attempts; `None` until the claim is settled.
    pub end: Option<(ClaimState, u32)>,
}

impl OwnedClaim {
    /// Returns whether the claim stays as this transaction has inserted it: done at attempt 1.
    pub fn is_final(&self) -> bool {
        self.written == ClaimState::Done && self.end == Some((ClaimState::Done, 1))
    }
}
