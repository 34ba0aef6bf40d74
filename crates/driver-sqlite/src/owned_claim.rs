//! A claim that a transaction has made, and that only this transaction may settle.

use hookbox_driver::ClaimState;
use hookbox_event::ReceiptId;

/// One claim for which the result was `Fresh` or `Granted` in this transaction, so that its handler
/// is to run.
pub(crate) struct OwnedClaim {
    pub receipt: ReceiptId,
    /// The number of attempts made before the one that this claim allows.
    pub attempts: u32,
    /// The number of attempts made before the last replay, or 0.
    pub attempts_before: u32,
    /// Whether the claim is for a retry or a replay. If not, it is for a first attempt.
    pub granted: bool,
    /// The state in which this transaction has written the claim.
    pub written: ClaimState,
    /// The final state and the number of attempts; `None` until the claim is settled.
    pub settled: Option<(ClaimState, u32)>,
}
