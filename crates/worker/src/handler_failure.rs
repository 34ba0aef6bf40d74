//! The failure of one run of a handler. A panic, an exceeded time limit and a payload that cannot
//! be made are failures like any other.

use std::any::Any;
use std::time::Duration;

use hookbox_driver::{FaultKind, Store, storable};

use crate::HandlerError;
use crate::settle::FailureCause;

/// The failure of one run of a handler.
#[derive(Debug, Clone)]
pub(crate) struct HandlerFailure {
    pub cause: FailureCause,
    /// The error text, as it is stored with the event. It is never logged, because it may quote
    /// the body.
    pub error: String,
    /// Whether the handler was stopped in the middle of its work, so that its connection must be
    /// closed.
    pub interrupted: bool,
    /// What an operator has to do, if a right is missing and it is known which.
    pub remedy: Option<String>,
}

/// Why the payload of an event could not be made.
pub(crate) enum Unready {
    Returned(HandlerError),
    Panicked(Box<dyn Any + Send>),
}

impl HandlerFailure {
    /// Builds the failure of a handler that returned an error.
    pub fn returned<S: Store>(store: &S, error: &HandlerError) -> Self {
        // If the driver finds a fault of the database in the error, the class that the handler's
        // author chose (transient or permanent) does not count.
        let cause = store
            .diagnose(error.cause())
            .map_or(FailureCause::Returned(error.class), FailureCause::Fault);
        let remedy = match cause {
            FailureCause::Fault(FaultKind::MissingRight) => store.remedy(error.cause()),
            FailureCause::Fault(
                FaultKind::Contention | FaultKind::Unavailable | FaultKind::Internal,
            )
            | FailureCause::Returned(_)
            | FailureCause::Panicked
            | FailureCause::TimedOut
            | FailureCause::BrokeTransaction
            | FailureCause::Orphaned => None,
        };
        Self {
            cause,
            error: storable(&store.describe(error.cause())).into_owned(),
            interrupted: false,
            remedy,
        }
    }

    /// Builds the failure of a handler that panicked.
    pub fn panicked(panic: &(dyn Any + Send)) -> Self {
        let error = format!("the handler panicked: {}", panic_text(panic));
        Self {
            cause: FailureCause::Panicked,
            error: storable(&error).into_owned(),
            interrupted: true,
            remedy: None,
        }
    }

    /// Builds the failure of a handler that was stopped because it exceeded its time limit.
    pub fn timed_out(time_limit: Duration) -> Self {
        Self {
            cause: FailureCause::TimedOut,
            error: format!("the handler ran longer than its time limit of {time_limit:?}"),
            interrupted: true,
            remedy: None,
        }
    }

    /// Builds the failure of an event whose payload could not be made.
    pub fn of_payload<S: Store>(store: &S, why: &Unready) -> Self {
        match why {
            Unready::Returned(error) => Self::returned(store, error),
            // No statement of the handler was running, so the connection can still be used.
            Unready::Panicked(panic) => Self {
                interrupted: false,
                ..Self::panicked(&**panic)
            },
        }
    }

    /// Builds the failure of an orphaned event. The claim of such an event is committed, but the
    /// event has no outcome. This happens only if its handler ended the transaction itself.
    pub fn orphaned() -> Self {
        let error = "an earlier run of the handler ended its own transaction; whether all of its \
                     effects stand is not known, so it is not run again";
        Self {
            cause: FailureCause::Orphaned,
            error: error.to_owned(),
            interrupted: false,
            remedy: None,
        }
    }

    /// Returns whether the handler has ended with an error of its own. After a fault, the
    /// connection may be at fault; after a handler that was stopped, a statement may still run.
    pub fn has_returned(&self) -> bool {
        match self.cause {
            FailureCause::Returned(_) => !self.interrupted,
            FailureCause::Panicked
            | FailureCause::TimedOut
            | FailureCause::BrokeTransaction
            | FailureCause::Orphaned
            | FailureCause::Fault(_) => false,
        }
    }
}

/// Returns the text of a panic, if it has one.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}
