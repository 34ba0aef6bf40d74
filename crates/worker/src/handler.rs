//! The trait that the author of a handler implements.

use std::future::Future;

use bytes::Bytes;
use hookbox_driver::Store;

use crate::{BatchError, Event, HandlerError, Json, Payload};

/// Handles the events of a route, inside a transaction that it borrows.
///
/// What a handler writes through `tx` is committed together with the record that the event is done,
/// so it happens once. The engine opens and ends the transaction.
///
/// Two mistakes count as a failed attempt: a handler continues after a failed statement, or it
/// changes its session (role, `search_path`, time limits, also with `SET LOCAL`) and does not
/// change it back. If it ends the transaction (`COMMIT`, `ROLLBACK`), hookbox cannot take back its
/// effects: the event becomes an `orphaned` dead letter, and the handler does not run again, except
/// when the process is killed before that is recorded.
///
/// What a handler does outside of this transaction, such as a call over the network, may happen
/// more than once; use the event's id as its idempotency key.
pub trait Handler<S: Store>: Send + Sync + 'static {
    /// The name of the handler in the config, in logs and on pages.
    const NAME: &'static str;

    /// The type into which the body is deserialized. A body that does not fit is a permanent
    /// failure: a dead letter that says where it did not fit. Use [`serde::de::IgnoredAny`] to
    /// accept any body, and [`crate::Json`] for exact numbers without another pass over the body.
    type Payload: Payload;

    /// Whether the engine may rely on the handler to leave its transaction open and its session
    /// unchanged. For any other handler the engine checks this after each event, with one
    /// statement.
    const TRUSTED: bool = false;

    /// Returns whether the handler may run again on an event that is done, when an operator asks
    /// for that with `hookbox events replay`. What the later run writes must replace what the
    /// earlier one wrote, and not be added to it. [`Event::round`] distinguishes the runs. By
    /// default, an event that is done never runs again.
    fn is_repeatable(&self) -> bool {
        false
    }

    /// Makes the payload of an event. `read` is the body as JSON, if it was read before. A handler
    /// whose payload depends on its settings overrides this. By default, [`Payload::of`] makes the
    /// payload.
    ///
    /// # Errors
    /// When the body does not fit the payload type. This is a permanent failure: the event leaves
    /// its batch before the handler runs.
    fn payload(&self, body: &Bytes, read: Option<Json>) -> Result<Self::Payload, HandlerError> {
        Self::Payload::of(body, read)
    }

    /// Checks, before the worker takes the first event of the route, that the database accepts what
    /// the handler will run, as far as that can be known. `tx` is a transaction of its own, which
    /// is rolled back. After an error the worker does not start, unless the database is unavailable
    /// at that moment. By default, nothing is checked.
    fn check_database(
        &self,
        tx: &mut S::Connection,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send {
        let _ = tx;
        std::future::ready(Ok(()))
    }

    /// Handles one event. `?` makes any error transient (tried again); `.or_reject()?` makes it
    /// permanent (a dead letter now).
    fn handle(
        &self,
        event: &Event<Self::Payload>,
        tx: &mut S::Connection,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;

    /// Handles the events of a batch, all in the one transaction of `tx`. No two of them are the
    /// same event. A handler that can write many events with one statement overrides this. By
    /// default, each event is handled by [`Handler::handle`], one after another.
    ///
    /// [`BatchError::of`] names the event that could not be handled; then the events before and
    /// after it run again without it, in two calls. After any other error (`?`), halves of the
    /// batch run again until the event is found. Whatever the failed call wrote is undone first. An
    /// attempt is counted only when [`Handler::handle`] fails on the event alone, so both methods
    /// must have the same effect for an event.
    ///
    /// The time limit of one call is that of one event times the number of events, and at most
    /// three minutes. For a handler that is not [`Handler::TRUSTED`], the transaction and the
    /// session are checked once after all events.
    fn handle_all(
        &self,
        events: &[Event<Self::Payload>],
        tx: &mut S::Connection,
    ) -> impl Future<Output = Result<(), BatchError>> + Send {
        let _ = (events, tx);
        std::future::ready(Err(BatchError::one_by_one()))
    }
}
