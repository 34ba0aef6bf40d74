//! Gives handlers of any payload type one interface, and runs a handler once. A panic or an
//! exceeded time limit becomes a failure like any other.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use hookbox_driver::{FaultKind, Store, storable};

use crate::settle::FailureCause;
use crate::{Event, Handler, HandlerError, Json, Payload};

/// A handler with any payload type. Only [`register`] creates one.
#[async_trait]
pub trait DynHandler<S: Store>: Send + Sync + 'static {
    /// [`Handler::NAME`].
    fn name(&self) -> &'static str;

    /// [`Handler::TRUSTED`].
    fn is_trusted(&self) -> bool;

    /// Whether the handler's payload is built from the body.
    fn builds_payload(&self) -> bool;

    /// Makes the payload and handles the event. The payload of `event` is its body if it was read
    /// already.
    async fn run(
        &self,
        event: Event<Option<Json>>,
        tx: &mut S::Connection,
    ) -> Result<(), HandlerError>;
}

/// A handler in the form in which a route holds it.
pub type Registered<S> = Arc<dyn DynHandler<S>>;

/// Converts a handler into the form that a route holds.
pub fn register<S: Store, H: Handler<S>>(handler: H) -> Registered<S> {
    Arc::new(Typed(handler))
}

struct Typed<H>(H);

#[async_trait]
impl<S: Store, H: Handler<S>> DynHandler<S> for Typed<H> {
    fn name(&self) -> &'static str {
        H::NAME
    }

    fn is_trusted(&self) -> bool {
        H::TRUSTED
    }

    fn builds_payload(&self) -> bool {
        H::Payload::is_built()
    }

    async fn run(
        &self,
        event: Event<Option<Json>>,
        tx: &mut S::Connection,
    ) -> Result<(), HandlerError> {
        let event = event.try_map(H::Payload::of)?;
        self.0.handle(&event, tx).await
    }
}

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
    /// What an operator must do when the database denied the handler something.
    pub remedy: Option<String>,
}

/// Runs a handler once.
pub(crate) async fn run<S: Store>(
    store: &S,
    handler: &dyn DynHandler<S>,
    event: Event<Option<Json>>,
    connection: &mut S::Connection,
    time_limit: Duration,
) -> Result<(), HandlerFailure> {
    let handled = AssertUnwindSafe(handler.run(event, connection)).catch_unwind();
    match tokio::time::timeout(time_limit, handled).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error))) => Err(returned(store, &error)),
        Ok(Err(panic)) => {
            let error = format!("the handler panicked: {}", message(&*panic));
            Err(HandlerFailure {
                cause: FailureCause::Panicked,
                error: storable(&error).into_owned(),
                interrupted: true,
                remedy: None,
            })
        }
        Err(_elapsed) => {
            let error = format!("the handler ran longer than its time limit of {time_limit:?}");
            Err(HandlerFailure {
                cause: FailureCause::TimedOut,
                error,
                interrupted: true,
                remedy: None,
            })
        }
    }
}

/// Builds the failure of a handler that returned an error.
fn returned<S: Store>(store: &S, error: &HandlerError) -> HandlerFailure {
    // The driver's diagnosis outranks the author's class.
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
    HandlerFailure {
        cause,
        error: storable(&store.describe(error.cause())).into_owned(),
        interrupted: false,
        remedy,
    }
}

/// Returns the text of a panic, if it has one.
fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}
