//! The trait that the author of a handler implements.

use std::future::Future;

use bytes::Bytes;
use hookbox_driver::Store;
use hookbox_event::{ContentDigest, EventId, ReceiptId, SourceName, Timestamp, Topic};
use serde::de::DeserializeOwned;

use crate::HandlerError;

/// Does something about an event, inside a transaction that it borrows.
///
/// What it writes through `tx` is committed together with the record that it was done, so it
/// happens once. The engine opens and ends the transaction. A handler that continues after a
/// failed statement, or that changes its session (role, `search_path`, time limits, also with
/// `SET LOCAL`) and does not change it back, has failed its attempt. One that ends the transaction
/// (`COMMIT`, `ROLLBACK`) leaves effects that hookbox cannot take back: its event becomes an
/// `orphaned` dead letter, and the handler does not run again. Only a process that is killed
/// before that is recorded runs it once more. What a handler does elsewhere (a call over the
/// network) may happen more than once; use the event's id as the idempotency key for it.
pub trait Handler<S: Store>: Send + Sync + 'static {
    /// Its name in the config, in logs and on pages.
    const NAME: &'static str;

    /// What the body is read into. A body that does not fit is a permanent failure: a dead
    /// letter that says where it did not fit. Use [`serde::de::IgnoredAny`] to take anything.
    type Payload: DeserializeOwned + Send + Sync + 'static;

    /// Whether the engine may rely on it to leave its transaction and its session alone. Of any
    /// other handler that is proved after each event, with one statement.
    const TRUSTED: bool = false;

    /// Handles one event. `?` makes any error transient (tried again); `.or_reject()?` makes it
    /// permanent (a dead letter now).
    fn handle(
        &self,
        event: &Event<Self::Payload>,
        tx: &mut S::Connection,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// One event, as a handler gets it.
///
/// `Debug` shows neither the body nor the payload.
pub struct Event<P> {
    /// Which event: the idempotency key of everything that is done about it.
    pub id: EventId,
    /// The accepted request by which it was received.
    pub receipt: ReceiptId,
    /// The endpoint it was posted to.
    pub source: SourceName,
    /// What it is about.
    pub topic: Topic,
    /// What it says, as a digest.
    pub digest: ContentDigest,
    /// When it came in, by the ingest's clock.
    pub received_at: Timestamp,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// The body as it was received.
    pub body: Bytes,
    /// The body, read.
    pub payload: P,
}

impl<P> Event<P> {
    /// The same event with another payload.
    pub(crate) fn with_payload<Q>(self, payload: Q) -> Event<Q> {
        Event {
            id: self.id,
            receipt: self.receipt,
            source: self.source,
            topic: self.topic,
            digest: self.digest,
            received_at: self.received_at,
            attempt: self.attempt,
            body: self.body,
            payload,
        }
    }
}

impl<P> std::fmt::Debug for Event<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("topic", &self.topic)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
