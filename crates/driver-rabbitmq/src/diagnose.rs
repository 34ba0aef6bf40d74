//! lapin's errors as faults of the seam.

use hookbox_driver::{Fault, FaultKind};

use crate::refusal::{Account, is_refused};

/// Whatever lapin reports, the broker is unavailable, refuses us, or violates the protocol: nothing
/// that an immediate retry would fix.
pub(crate) fn fault(doing: impl Into<String>, error: lapin::Error) -> Fault {
    Fault::new(FaultKind::Unavailable, doing, error)
}

/// The same, with the command that grants it where a right is missing.
pub(crate) fn fault_of(account: &Account, doing: impl Into<String>, error: lapin::Error) -> Fault {
    if is_refused(&error) {
        return Fault::new(FaultKind::Unavailable, doing, account.at_queues(error));
    }
    fault(doing, error)
}

/// A deadline passed.
pub(crate) fn late(doing: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Unavailable, doing, "the deadline passed")
}
