//! Decides whether an event's handler is responsible for an error that its transaction met after
//! the handler had run.

use std::time::Duration;

use hookbox_driver::{CommitError, Fault, FaultKind, Outcome, describe};

use crate::attempt_error::AttemptError;
use crate::claimed_event::ClaimedEvent;
use crate::handler_failure::HandlerFailure;
use crate::proof;
use crate::settle::FailureCause;

/// Returns whether the outcome means that a handler has run and succeeded.
pub(crate) fn is_done(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Done { .. } => true,
        Outcome::Duplicate | Outcome::Conflict { .. } | Outcome::Dead { .. } | Outcome::Stale => {
            false
        }
    }
}

/// Converts an error of the store in a transaction with several events into an [`AttemptError`]. It
/// is not known on which of these events the handler caused the error.
pub(crate) fn of_several(error: CommitError) -> AttemptError {
    match error {
        CommitError::Fault(fault) => AttemptError::Fault(fault),
        CommitError::BrokenByHandler { why } | CommitError::EndedByHandler { why } => {
            AttemptError::Broken { why }
        }
    }
}

/// Converts an error of the commit into an [`AttemptError`]. If the transaction had a single
/// event, the error is the failure of the handler of that event.
pub(crate) fn attribute(
    error: CommitError,
    events: &[ClaimedEvent],
    ran: bool,
    remedy: impl Fn(&Fault) -> Option<String>,
) -> AttemptError {
    let of = |only, failure| AttemptError::handler(only, failure, Duration::ZERO);
    match (error, events) {
        // Only an event whose handler ran can be deferred. An event that becomes a dead letter
        // without a run, for example a conflict, cannot.
        (CommitError::Fault(fault), [only]) if ran => match fault.kind() {
            // This fault comes from the commit itself and not from a statement of the handler. The
            // handler is its cause nevertheless: the database checks some of the handler's changes
            // only at the commit, for example for a deferred constraint.
            kind @ (FaultKind::Contention | FaultKind::MissingRight) => {
                let failure = HandlerFailure {
                    cause: FailureCause::Fault(kind),
                    error: describe(&fault),
                    interrupted: true,
                    remedy: remedy(&fault),
                };
                of(only, failure)
            }
            FaultKind::Unavailable | FaultKind::Internal => AttemptError::Fault(fault),
        },
        (CommitError::BrokenByHandler { why }, [only]) => {
            let failure = HandlerFailure {
                cause: FailureCause::BrokeTransaction,
                error: why,
                interrupted: true,
                remedy: None,
            };
            of(only, failure)
        }
        (CommitError::EndedByHandler { why }, [only]) => of(only, proof::ended(&why, None)),
        (error, _) => of_several(error),
    }
}
