//! Why a transaction did not end in a commit. `settle` decides what follows.

use std::time::Duration;

use hookbox_driver::Fault;

use crate::claimed_event::ClaimedEvent;
use crate::handler_failure::HandlerFailure;

/// The operation that a fault names when a statement of a handler has failed.
pub(crate) const STATEMENT: &str = "run a handler's statement";

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

impl AttemptError {
    pub fn handler(event: &ClaimedEvent, failure: HandlerFailure, took: Duration) -> Self {
        AttemptError::Handler(Box::new(FailedAttempt {
            event: event.clone(),
            failure,
            took,
        }))
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
