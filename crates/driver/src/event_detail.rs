//! One event with its whole history, in the form that operators see.

use bytes::Bytes;
use hookbox_event::{ContentDigest, EventId, InstanceId, ReceiptId, RouteName, Timestamp, Topic};
use serde::Serialize;

use crate::{ClaimState, DeferredSince};

/// An event with its whole history.
#[derive(Debug, Clone, Serialize)]
pub struct EventDetail {
    /// Which event.
    pub event: EventId,
    /// What about.
    pub topic: Topic,
    /// Its content digest.
    pub digest: ContentDigest,
    /// The length of the body in bytes.
    pub body_bytes: u64,
    /// The body as it was received.
    #[serde(skip)]
    pub body: Bytes,
    /// Reserved: see [`hookbox_event::Envelope::seal`].
    pub seal: Option<String>,
    /// The moment when the event's first receipt arrived.
    pub received_at: Timestamp,
    /// The event's state on each route.
    pub claims: Vec<ClaimRow>,
    /// Its receipts.
    pub receipts: Vec<ReceiptRow>,
    /// The event's recorded attempts: all failed ones, and a successful one that followed a failure
    /// or a deferral.
    pub attempts: Vec<AttemptRow>,
    /// Its waiting retries.
    pub retries: Vec<RetryRow>,
}

/// The state of an event on a route.
#[derive(Debug, Clone, Serialize)]
pub struct ClaimRow {
    /// The route.
    pub route: RouteName,
    /// Where it stands.
    pub state: ClaimState,
    /// Attempts made.
    pub attempts: u32,
    /// The moment when the event was claimed.
    pub claimed_at: Timestamp,
    /// The moment when the event was last settled.
    pub settled_at: Option<Timestamp>,
}

/// A receipt and its outcome on one route.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptRow {
    /// Which receipt.
    pub receipt: ReceiptId,
    /// The route.
    pub route: RouteName,
    /// The outcome of the receipt: done, duplicate, conflict, retrying or dead.
    pub outcome: String,
    /// The id of the secret that verified the request.
    pub key_id: String,
    /// The ingest process that accepted the receipt.
    pub instance: InstanceId,
    /// The receipt's sequence number at its ingest process.
    pub number: u64,
    /// The digest of the receipt's own body, when the event is stored with another body and only
    /// its id decides.
    pub other_digest: Option<ContentDigest>,
    /// The moment when the receipt arrived.
    pub received_at: Timestamp,
    /// The moment when the outcome was written.
    pub settled_at: Timestamp,
}

/// One attempt.
#[derive(Debug, Clone, Serialize)]
pub struct AttemptRow {
    /// The route.
    pub route: RouteName,
    /// From 1.
    pub attempt: u32,
    /// "done", or the class of the attempt's failure.
    pub outcome: String,
    /// The error and its causes, when the attempt failed.
    pub error: Option<String>,
    /// The duration of the attempt, in milliseconds.
    pub took_ms: u64,
    /// The moment when the attempt was recorded.
    pub at: Timestamp,
}

/// One waiting retry.
#[derive(Debug, Clone, Serialize)]
pub struct RetryRow {
    /// The route.
    pub route: RouteName,
    /// The number of the attempt that is due.
    pub attempt: u32,
    /// Not before.
    pub not_before: Timestamp,
    /// The moment when the retry was put into the queue, if it was.
    pub queued_at: Option<Timestamp>,
    /// Why and since when the retry is deferred, if it waits without a failed attempt.
    pub deferred: Option<DeferredSince>,
}
