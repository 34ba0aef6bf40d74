//! Converts lapin's errors into faults.

use hookbox_driver::{Fault, FaultKind};

use crate::refusal::{Account, is_refused};

/// Converts an error into a fault. Whatever lapin reports, the broker is unavailable, refuses
/// hookbox, or violates the protocol; an immediate retry would fix none of these.
pub(crate) fn fault(doing: impl Into<String>, error: lapin::Error) -> Fault {
    Fault::new(FaultKind::Unavailable, doing, error)
}

/// Converts an error into a fault. When a right is missing, the text contains the command that
/// grants it.
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
