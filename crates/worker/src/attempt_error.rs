//! Why a transaction did not end in a commit. `settle` decides what follows.

use std::time::Duration;

use hookbox_driver::Fault;

use crate::claimed_event::ClaimedEvent;
use crate::registered::HandlerFailure;

/// The reason why a transaction did not end in a commit. The transaction has no effect then.
pub(crate) enum AttemptError {
    /// The handler of one event failed.
    Handler(Box<FailedAttempt>),
    /// The transaction held several events, and the check before its commit showed that one of
    /// their handlers had broken it. Which of the handlers it was is not known.
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
            AttemptError::Broken { .. } | AttemptError::Fault(_) => false,
        }
    }
}

impl From<Fault> for AttemptError {
    fn from(fault: Fault) -> Self {
        AttemptError::Fault(fault)
    }
}
