//! One run of a handler, with panics and time limits turned into outcomes.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use hookbox_driver::{Store, storable};

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
            Err(Failed {
                ended,
                error: storable(&store.describe(error.cause())).into_owned(),
                interrupted: false,
            })
        }
        Ok(Err(panic)) => {
            let error = format!("the handler panicked: {}", message(&*panic));
            Err(Failed {
                ended: Ended::Panicked,
                error: storable(&error).into_owned(),
                interrupted: true,
            })
        }
        Err(_elapsed) => {
            let error = format!("the handler ran longer than its time limit of {time_limit:?}");
            Err(Failed {
                ended: Ended::TimedOut,
                error,
                interrupted: true,
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
