//! One event with its whole history, in the form that operators see.

use bytes::Bytes;
use hookbox_event::{ContentDigest, EventId, InstanceId, ReceiptId, RouteName, Timestamp, Topic};
use serde::Serialize;

use crate::{ClaimState, DeferredSince, TargetName};

/// An event with its whole history.
#[derive(Debug, Clone, Serialize)]
pub struct EventDetail {
    /// The id of the event.
    pub event: EventId,
    /// The topic of the event.
    pub topic: Topic,
    /// The content digest of the body.
    pub digest: ContentDigest,
    /// The length of the body in bytes.
    pub body_bytes: u64,
    /// The body as it was received.
    #[serde(skip)]
    pub body: Bytes,
    /// Always `None` today; reserved, see [`hookbox_event::Envelope::seal`].
    pub seal: Option<String>,
    /// The moment when the event's first receipt arrived.
    pub received_at: Timestamp,
    /// The event's state on each route.
    pub claims: Vec<ClaimRow>,
    /// The receipts of the event, with their outcomes.
    pub receipts: Vec<ReceiptRow>,
    /// The recorded attempts on the event: every failed one, and each successful one that followed
    /// a failure or a deferral.
    pub attempts: Vec<AttemptRow>,
    /// The waiting retries of the event.
    pub retries: Vec<RetryRow>,
}

/// The state of an event on one route.
#[derive(Debug, Clone, Serialize)]
pub struct ClaimRow {
    /// The route that claimed the event.
    pub route: RouteName,
    /// The state of the event on the route.
    pub state: ClaimState,
    /// The number of attempts made.
    pub attempts: u32,
    /// The moment when the event was claimed.
    pub claimed_at: Timestamp,
    /// The moment when the event was last settled; `None` if it never was.
    pub settled_at: Option<Timestamp>,
    /// The number of the last lease of the event; `None` when it never had one.
    pub epoch: Option<u32>,
}

/// A receipt and its outcome on one route.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptRow {
    /// The id of the receipt.
    pub receipt: ReceiptId,
    /// The route of the outcome.
    pub route: RouteName,
    /// The outcome of the receipt: done, duplicate, conflict, retrying, dead or stale.
    pub outcome: String,
    /// The id of the secret that verified the request's signature.
    pub key_id: String,
    /// The ingest process that accepted the request.
    pub instance: InstanceId,
    /// The receipt's sequence number at its ingest process.
    pub number: u64,
    /// The digest of this receipt's body, if the event is stored with another body and its source
    /// has `on_conflict = "duplicate"`; otherwise `None`.
    pub other_digest: Option<ContentDigest>,
    /// The moment when the receipt arrived.
    pub received_at: Timestamp,
    /// The moment when the outcome was written.
    pub settled_at: Timestamp,
}

/// One recorded attempt on an event.
#[derive(Debug, Clone, Serialize)]
pub struct AttemptRow {
    /// The route of the attempt.
    pub route: RouteName,
    /// The number of the attempt, counted from 1.
    pub attempt: u32,
    /// The outcome: "done", or the class of the attempt's failure.
    pub outcome: String,
    /// The error and its causes, when the attempt failed.
    pub error: Option<String>,
    /// The duration of the attempt, in milliseconds.
    pub took_ms: u64,
    /// The moment when the attempt was recorded.
    pub at: Timestamp,
}

/// A retry of the event that waits for its time.
#[derive(Debug, Clone, Serialize)]
pub struct RetryRow {
    /// The route of the retry.
    pub route: RouteName,
    /// The number of the attempt that will be made.
    pub attempt: u32,
    /// The moment before which the attempt is not made.
    pub not_before: Timestamp,
    /// The moment when the retry was put back into its queue; `None` if it has not been.
    pub queued_at: Option<Timestamp>,
    /// The reason and the start of the deferral; `None` when the retry follows a failed attempt.
    pub deferred: Option<DeferredSince>,
    /// The target of the event's external call, when the event is leased.
    pub target: Option<TargetName>,
}
