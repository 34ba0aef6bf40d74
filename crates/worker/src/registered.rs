//! Gives handlers of any payload type one interface, and runs a handler once. A panic or an
//! exceeded time limit becomes a failure like any other.

use std::any::Any;
use std::future::Future;
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use hookbox_driver::{FaultKind, Store, storable};
use hookbox_event::EventId;

use crate::batch_error::Failed;
use crate::prepared::{Prepared, TypedEvents};
use crate::settle::FailureCause;
use crate::{Event, Handler, HandlerError, Json, Payload};

/// The longest time limit of one run on several events, equal to the longest that the config allows
/// for one event. It is limited because a batch that fails runs several times, and RabbitMQ
/// redelivers a message that is not settled within 30 minutes.
pub(crate) const BATCH_TIME_LIMIT_MAX: Duration = Duration::from_secs(180);

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

/// Why the payload of an event could not be made.
pub(crate) enum Unready {
    Returned(HandlerError),
    Panicked(Box<dyn Any + Send>),
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

impl HandlerFailure {
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

/// Runs a handler on one event.
pub(crate) async fn run<S: Store>(
    store: &S,
    prepared: &dyn Prepared<S>,
    at: usize,
    connection: &mut S::Connection,
    time_limit: Duration,
) -> Result<(), HandlerFailure> {
    match limited(prepared.handle(at, connection), time_limit).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(returned(store, &error)),
        Err(stopped) => Err(stopped),
    }
}

/// Returns the time limit for all calls of a handler together, if it is called for one event after
/// another.
pub(crate) fn limit_of_each(time_limit: Duration, events: usize) -> Duration {
    time_limit.saturating_mul(u32::try_from(events).unwrap_or(u32::MAX))
}

/// Returns the time limit of a run on several events at once: that of one event times the number of
/// events, and at most [`BATCH_TIME_LIMIT_MAX`].
pub(crate) fn limit_of_all(time_limit: Duration, events: usize) -> Duration {
    limit_of_each(time_limit, events).min(BATCH_TIME_LIMIT_MAX.max(time_limit))
}

/// Runs a handler on several events at once.
pub(crate) async fn run_all<S: Store>(
    store: &S,
    prepared: &dyn Prepared<S>,
    which: Range<usize>,
    connection: &mut S::Connection,
    time_limit: Duration,
) -> Result<Handled, BatchFailure> {
    let failed = |event, failure| Err(BatchFailure { event, failure });
    match limited(prepared.handle_all(which, connection), time_limit).await {
        Ok(Ok(())) => Ok(Handled::All),
        Ok(Err(error)) => match error.0 {
            Failed::OneByOne => Ok(Handled::OneByOne),
            Failed::Event(event, error) => failed(Some(event), returned(store, &error)),
            Failed::Unknown(error) => failed(None, returned(store, &error)),
        },
        Err(stopped) => failed(None, stopped),
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
        Ok(Err(panic)) => Err(panicked(&*panic)),
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

/// Builds the failure of an event whose payload could not be made.
pub(crate) fn unready<S: Store>(store: &S, why: &Unready) -> HandlerFailure {
    match why {
        Unready::Returned(error) => returned(store, error),
        // No statement of the handler was running, so the connection can still be used.
        Unready::Panicked(panic) => HandlerFailure {
            interrupted: false,
            ..panicked(&**panic)
        },
    }
}

fn panicked(panic: &(dyn Any + Send)) -> HandlerFailure {
    let error = format!("the handler panicked: {}", message(panic));
    HandlerFailure {
        cause: FailureCause::Panicked,
        error: storable(&error).into_owned(),
        interrupted: true,
        remedy: None,
    }
}

/// Builds the failure of a handler that returned an error.
fn returned<S: Store>(store: &S, error: &HandlerError) -> HandlerFailure {
    // If the driver finds a fault of the database in the error, the class that the handler's author
    // chose (transient or permanent) does not count.
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
pub(crate) fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}
