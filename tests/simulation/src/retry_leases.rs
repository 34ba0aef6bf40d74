//! The leases of one waiting attempt.

use hookbox_driver::TargetName;

/// The leases of the attempt for which an event waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct RetryLeases {
    /// The target of the lease; `None` when the event is not leased.
    pub target: Option<TargetName>,
    /// The number of leases of this attempt without an outcome.
    pub without_outcome: u32,
}
