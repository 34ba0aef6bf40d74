//! lapin's errors in the words of the seam.

use hookbox_driver::{Fault, FaultKind};

use crate::refusal::{Account, is_refused};

/// Whatever lapin says, the broker is away, refuses us, or speaks nonsense: nothing that running
/// the same again at once would mend.
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

/// Something that should have been there in time was not.
pub(crate) fn late(doing: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Unavailable, doing, "the deadline passed")
}
