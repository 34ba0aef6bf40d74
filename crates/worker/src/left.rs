//! The events that a transaction has claimed and has not brought to an outcome.

use hookbox_driver::{Fault, FaultKind};
use hookbox_event::EventId;

use crate::attempt_error::{AttemptError, FailedAttempt};
use crate::claimed_event::ClaimedEvent;

/// Events that have left a transaction with several events, for example because the handler failed
/// on them. Their claims are withdrawn before the commit.
#[derive(Default)]
pub(crate) struct LeftEvents {
    /// The events that have to run again, each in its own transaction.
    pub alone: Vec<ClaimedEvent>,
    /// The events whose payload could not be made. No other event of the transaction can be the
    /// cause of that. So this counts as a failed attempt at once, and the events do not run alone
    /// first.
    pub failed: Vec<FailedAttempt>,
}

impl LeftEvents {
    /// Returns a fault if there are any such events. The only event of a transaction never leaves
    /// it. If it did, nothing would run it again, and its message would be acknowledged without an
    /// outcome. After a fault it runs again.
    pub fn none(self) -> Result<(), AttemptError> {
        if self.alone.is_empty() && self.failed.is_empty() {
            return Ok(());
        }
        let doing = "bring the only event of a transaction to its outcome";
        Err(Fault::plain(FaultKind::Internal, doing).into())
    }

    pub fn ids(&self) -> Vec<EventId> {
        let failed = self.failed.iter().map(|failed| &failed.event);
        let events = self.alone.iter().chain(failed);
        events.map(|event| event.envelope.event).collect()
    }
}
