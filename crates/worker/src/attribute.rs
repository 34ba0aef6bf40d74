//! To which handler an error belongs that a transaction met after its handlers.

use std::time::Duration;

use hookbox_driver::{CommitError, Fault, FaultKind, Outcome, describe};

use crate::attempt_error::AttemptError;
use crate::claimed_event::ClaimedEvent;
use crate::proof;
use crate::registered::HandlerFailure;
use crate::settle::FailureCause;

/// Whether a handler has run and succeeded.
pub(crate) fn is_done(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Done { .. } => true,
        Outcome::Duplicate | Outcome::Conflict { .. } | Outcome::Dead { .. } => false,
    }
}

/// Attributes an error of the commit: with one event in the transaction, to that event's handler.
pub(crate) fn attribute(
    error: CommitError,
    events: &[ClaimedEvent],
    ran: bool,
    remedy: impl Fn(&Fault) -> Option<String>,
) -> AttemptError {
    let of = |only, failure| AttemptError::handler(only, failure, Duration::ZERO);
    match (error, events) {
        // Of what is given up without a handler, a conflict say, nothing can be deferred.
        (CommitError::Fault(fault), [only]) if ran => match fault.kind() {
            // What the handler left to the commit, a deferred constraint say, met it there.
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
        (CommitError::Fault(fault), _) => AttemptError::Fault(fault),
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
        (CommitError::BrokenByHandler { why } | CommitError::EndedByHandler { why }, _) => {
            AttemptError::Broken { why }
        }
    }
}
