//! Gives handlers of any payload type one interface: makes the payloads of events, and runs a
//! handler on them. A panic or an exceeded time limit becomes a failure like any other.

use std::future::Future;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use hookbox_driver::Store;
use hookbox_event::EventId;

use crate::batch_error::Failed;
use crate::handler_failure::{HandlerFailure, Unready};
use crate::{Event, Handler, HandlerError, Json, Payload};

/// A handler with any payload type. Only [`register`] creates one.
#[async_trait]
pub trait DynHandler<S: Store>: Send + Sync + 'static {
    /// [`Handler::NAME`].
    fn name(&self) -> &'static str;

    /// [`Handler::TRUSTED`].
    fn is_trusted(&self) -> bool;

    /// [`Handler::is_repeatable`].
    fn is_repeatable(&self) -> bool;

    /// Whether the handler's payload needs the values of the body. If not, and if no JSON Schema
    /// applies, the body is only checked to be JSON.
    fn builds_payload(&self) -> bool;

    /// [`Handler::check_database`].
    async fn check_database(&self, tx: &mut S::Connection) -> Result<(), HandlerError>;

    /// Makes the payloads of events. Each event contains its body as JSON if the body was read
    /// already. Returns the events whose payload could be made. Every other event is returned as
    /// its position in `events` and the reason.
    fn prepare(&self, events: Vec<Event<Option<Json>>>) -> Readied<S>;
}

/// A handler in the form in which a route holds it.
pub type Registered<S> = Arc<dyn DynHandler<S>>;

/// Events whose payloads were made, and those whose payloads could not be made.
pub struct Readied<S: Store> {
    pub(crate) prepared: Box<dyn Prepared<S>>,
    pub(crate) unready: Vec<(usize, Unready)>,
}

/// Events that are ready for their handler, whatever the type of their payloads.
#[async_trait]
pub(crate) trait Prepared<S: Store>: Send + Sync {
    /// Runs the handler on the event at this position.
    async fn handle(
        &self,
        at: usize,
        store: &S,
        connection: &mut S::Connection,
        time_limit: Duration,
    ) -> Result<(), HandlerFailure>;

    /// Runs the handler once on the events at these positions.
    async fn handle_all(
        &self,
        which: Range<usize>,
        store: &S,
        connection: &mut S::Connection,
        time_limit: Duration,
    ) -> Result<Handled, BatchFailure>;
}

/// The result of a run on several events in which the handler did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handled {
    /// The handler has handled all events.
    All,
    /// The handler has done nothing, because it handles one event after another.
    OneByOne,
}

/// The failure of one run on several events.
pub(crate) struct BatchFailure {
    /// The event that the handler names as the cause of the failure.
    pub event: Option<EventId>,
    pub failure: HandlerFailure,
}

/// Converts a handler into the form that a route holds.
pub fn register<S: Store, H: Handler<S>>(handler: H) -> Registered<S> {
    Arc::new(Typed(Arc::new(handler)))
}

struct Typed<H>(Arc<H>);

#[async_trait]
impl<S: Store, H: Handler<S>> DynHandler<S> for Typed<H> {
    fn name(&self) -> &'static str {
        H::NAME
    }

    fn is_trusted(&self) -> bool {
        H::TRUSTED
    }

    fn is_repeatable(&self) -> bool {
        self.0.is_repeatable()
    }

    fn builds_payload(&self) -> bool {
        H::Payload::is_built()
    }

    async fn check_database(&self, tx: &mut S::Connection) -> Result<(), HandlerError> {
        self.0.check_database(tx).await
    }

    fn prepare(&self, events: Vec<Event<Option<Json>>>) -> Readied<S> {
        let mut ready = Vec::with_capacity(events.len());
        let mut unready = Vec::new();
        for (at, event) in events.into_iter().enumerate() {
            let made = || event.try_map(|body, read| self.0.payload(body, read));
            match std::panic::catch_unwind(AssertUnwindSafe(made)) {
                Ok(Ok(event)) => ready.push(event),
                Ok(Err(error)) => unready.push((at, Unready::Returned(error))),
                Err(panic) => unready.push((at, Unready::Panicked(panic))),
            }
        }
        let handler = Arc::clone(&self.0);
        Readied {
            prepared: Box::new(TypedEvents::<S, H> {
                handler,
                events: ready,
            }),
            unready,
        }
    }
}

/// Events with payloads of the handler's own type.
struct TypedEvents<S: Store, H: Handler<S>> {
    handler: Arc<H>,
    events: Vec<Event<H::Payload>>,
}

#[async_trait]
impl<S: Store, H: Handler<S>> Prepared<S> for TypedEvents<S, H> {
    async fn handle(
        &self,
        at: usize,
        store: &S,
        connection: &mut S::Connection,
        time_limit: Duration,
    ) -> Result<(), HandlerFailure> {
        let Some(event) = self.events.get(at) else {
            return Ok(());
        };
        // The block makes the call itself a part of the run: a handler may also panic before it
        // returns its future.
        // The error is described here as well, because its `Display` may panic.
        let handled = async {
            let handled = self.handler.handle(event, connection).await;
            handled.map_err(|error| HandlerFailure::returned(store, &error))
        };
        limited(handled, time_limit).await.flatten()
    }

    async fn handle_all(
        &self,
        which: Range<usize>,
        store: &S,
        connection: &mut S::Connection,
        time_limit: Duration,
    ) -> Result<Handled, BatchFailure> {
        let events = self.events.get(which).unwrap_or_default();
        let failed = |event, error: &HandlerError| BatchFailure {
            event,
            failure: HandlerFailure::returned(store, error),
        };
        let handled = async {
            match self
                .handler
                .handle_all(events, connection)
                .await
                .map_err(|it| it.0)
            {
                Ok(()) => Ok(Handled::All),
                Err(Failed::OneByOne) => Ok(Handled::OneByOne),
                Err(Failed::Event(event, error)) => Err(failed(Some(event), &error)),
                Err(Failed::Unknown(error)) => Err(failed(None, &error)),
            }
        };
        let stopped = |failure| BatchFailure {
            event: None,
            failure,
        };
        limited(handled, time_limit)
            .await
            .map_err(stopped)
            .flatten()
    }
}

/// Runs a handler until it returns, panics or exceeds its time limit.
async fn limited<T>(
    run: impl Future<Output = T>,
    time_limit: Duration,
) -> Result<T, HandlerFailure> {
    let handled = AssertUnwindSafe(run).catch_unwind();
    match tokio::time::timeout(time_limit, handled).await {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(panic)) => Err(HandlerFailure::panicked(&*panic)),
        Err(_elapsed) => Err(HandlerFailure::timed_out(time_limit)),
    }
}
