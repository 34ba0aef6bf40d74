//! Whose an error is that a transaction met after its handlers.

use hookbox_driver::{CommitError, Fault, FaultKind, Outcome, describe};

use crate::attempt::{Mine, Trouble};
use crate::guard::Failed;
use crate::proof;
use crate::settle::Ended;

/// Whether a handler has run and succeeded.
pub(crate) fn is_done(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Done { .. } => true,
        Outcome::Duplicate | Outcome::Conflict { .. } | Outcome::Dead { .. } => false,
    }
}

/// Who broke a transaction: with one event in it, that event's handler.
pub(crate) fn blame(
    error: CommitError,
    mine: &[Mine],
    ran: bool,
    remedy: impl Fn(&Fault) -> Option<String>,
) -> Trouble {
    match (error, mine) {
        // Of what is given up without a handler, a conflict say, nothing can be put off.
        (CommitError::Fault(fault), [only]) if ran => match fault.kind() {
            // What the handler left to the commit, a deferred constraint say, met it there.
            kind @ (FaultKind::Contention | FaultKind::MissingRight) => only.trouble(Failed {
                ended: Ended::Fault(kind),
                error: describe(&fault),
                interrupted: true,
                remedy: remedy(&fault),
            }),
            FaultKind::Unavailable | FaultKind::Internal => Trouble::Fault(fault),
        },
        (CommitError::Fault(fault), _) => Trouble::Fault(fault),
        (CommitError::BrokenByHandler { why }, [only]) => only.trouble(Failed {
            ended: Ended::BrokeTransaction,
            error: why,
            interrupted: true,
            remedy: None,
        }),
        (CommitError::EndedByHandler { why }, [only]) => only.trouble(proof::ended(&why, None)),
        (CommitError::BrokenByHandler { why } | CommitError::EndedByHandler { why }, _) => {
            Trouble::Broken { why }
        }
    }
}
