//! Why a transaction did not end in a commit. `settle` decides what follows.

use std::time::Duration;

use hookbox_driver::{Fault, FaultKind};

use crate::claimed_event::ClaimedEvent;
use crate::handler_failure::HandlerFailure;

/// The reason why a transaction did not end in a commit. The transaction has no effect then.
pub(crate) enum AttemptError {
    /// The handler of one event failed.
    Handler(Box<FailedAttempt>),
    /// The handler ended the transaction while it handled these events in one run. It is not known
    /// whether the effects of any of them stand, so each of them has failed and never runs again.
    Ended(Vec<FailedAttempt>),
    /// One run of the handler on several events failed. It is not known which event is the cause.
    Unnamed {
        /// Whether the handler was stopped in the middle of a statement.
        is_interrupted: bool,
    },
    /// The transaction held several events, and the check before its commit showed that the handler
    /// had broken it. It is not known on which event the handler did so.
    Broken { why: String },
    /// A fault of a dependency, and not of an event.
    Fault(Fault),
}

/// An event whose handler failed, with the failure.
pub(crate) struct FailedAttempt {
    pub event: ClaimedEvent,
    pub failure: HandlerFailure,
    pub took: Duration,
}

/// Returns the fault of a handler's statement. The statement of one event may fail in this way for
/// ever, although the store is available.
pub(crate) fn of_statement(kind: FaultKind) -> Fault {
    Fault::plain(kind, "run a handler's statement").local()
}

impl AttemptError {
    pub fn handler(event: &ClaimedEvent, failure: HandlerFailure, took: Duration) -> Self {
        AttemptError::Handler(Box::new(FailedAttempt {
            event: event.clone(),
            failure,
            took,
        }))
    }

    /// Marks a fault of a transaction that a handler has used, because the handler may be its
    /// cause. For example, the server ends a session that the handler has left idle for too long.
    pub fn after_handler(self) -> Self {
        match self {
            AttemptError::Fault(fault) => AttemptError::Fault(fault.local()),
            error @ (AttemptError::Handler(_)
            | AttemptError::Ended(_)
            | AttemptError::Unnamed { .. }
            | AttemptError::Broken { .. }) => error,
        }
    }

    /// Returns whether a handler was stopped in the middle of a statement.
    pub fn is_interrupted(&self) -> bool {
        match self {
            AttemptError::Handler(failed) => failed.failure.interrupted,
            AttemptError::Ended(failed) => failed.iter().any(|one| one.failure.interrupted),
            AttemptError::Unnamed { is_interrupted, .. } => *is_interrupted,
            AttemptError::Broken { .. } | AttemptError::Fault(_) => false,
        }
    }

    /// Returns whether the handler has returned an error of its own about one event.
    pub fn is_returned(&self) -> bool {
        match self {
            AttemptError::Handler(failed) => failed.failure.has_returned(),
            AttemptError::Ended(_)
            | AttemptError::Unnamed { .. }
            | AttemptError::Broken { .. }
            | AttemptError::Fault(_) => false,
        }
    }
}

impl From<Fault> for AttemptError {
    fn from(fault: Fault) -> Self {
        AttemptError::Fault(fault)
    }
}
