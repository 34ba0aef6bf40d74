//! Converts lapin's errors into faults.

use std::time::Duration;

use hookbox_driver::{Fault, FaultKind};
use tokio::time::timeout;

use crate::refusal::{Account, is_refused};

/// Converts an error of lapin into a fault of the kind unavailable. Whatever the error is, the
/// broker is unreachable, refuses hookbox, or violates the protocol, and an immediate retry would
/// not help.
pub(crate) fn fault(doing: impl Into<String>, error: lapin::Error) -> Fault {
    Fault::new(FaultKind::Unavailable, doing, error)
}

/// Converts an error of lapin into a fault. If the error is about a missing right, the fault's text
/// contains the command that grants the right.
pub(crate) fn fault_of(account: &Account, doing: impl Into<String>, error: lapin::Error) -> Fault {
    if is_refused(&error) {
        return Fault::new(FaultKind::Unavailable, doing, account.at_queues(error));
    }
    fault(doing, error)
}

/// Waits for an operation of lapin until the deadline. If the operation fails or is late, returns a
/// fault.
pub(crate) async fn in_time<T>(
    deadline: Duration,
    doing: &str,
    operation: impl Future<Output = Result<T, lapin::Error>>,
) -> Result<T, Fault> {
    let ended = timeout(deadline, operation).await;
    ended
        .map_err(|_elapsed| late(doing))?
        .map_err(|error| fault(doing, error))
}

/// Returns the fault for an operation that did not complete before its deadline.
pub(crate) fn late(doing: impl Into<String>) -> Fault {
    Fault::new(FaultKind::Unavailable, doing, "the deadline passed")
}
