//! One run of a handler, with panics and time limits turned into outcomes.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use hookbox_driver::{FaultKind, Store, storable};

use crate::Event;
use crate::registry::DynHandler;
use crate::settle::Ended;

/// How a run ended without success, and the text for the store.
#[derive(Debug)]
pub(crate) struct Failed {
    pub ended: Ended,
    /// For the store, where bodies are. Never for a log.
    pub error: String,
    /// Whether the handler was stopped in the middle, so that its connection must be closed.
    pub interrupted: bool,
    /// What an operator is to do, where the database denied the handler something.
    pub remedy: Option<String>,
}

/// Runs a handler once.
pub(crate) async fn run<S: Store>(
    store: &S,
    handler: &dyn DynHandler<S>,
    event: Event<()>,
    connection: &mut S::Connection,
    time_limit: Duration,
) -> Result<(), Failed> {
    let handled = AssertUnwindSafe(handler.run(event, connection)).catch_unwind();
    match tokio::time::timeout(time_limit, handled).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => {
            // The driver's diagnosis outranks the author's class.
            let ended = store
                .diagnose(error.cause())
                .map_or(Ended::Failed(error.class), Ended::Fault);
            let remedy = match ended {
                Ended::Fault(FaultKind::MissingRight) => store.remedy(error.cause()),
                Ended::Fault(
                    FaultKind::Contention | FaultKind::Unavailable | FaultKind::Internal,
                )
                | Ended::Failed(_)
                | Ended::Panicked
                | Ended::TimedOut
                | Ended::BrokeTransaction
                | Ended::Orphaned => None,
            };
            Err(Failed {
                ended,
                error: storable(&store.describe(error.cause())).into_owned(),
                interrupted: false,
                remedy,
            })
        }
        Ok(Err(panic)) => {
            let error = format!("the handler panicked: {}", message(&*panic));
            Err(Failed {
                ended: Ended::Panicked,
                error: storable(&error).into_owned(),
                interrupted: true,
                remedy: None,
            })
        }
        Err(_elapsed) => {
            let error = format!("the handler ran longer than its time limit of {time_limit:?}");
            Err(Failed {
                ended: Ended::TimedOut,
                error,
                interrupted: true,
                remedy: None,
            })
        }
    }
}

/// What a panic said, where it said something.
fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}
