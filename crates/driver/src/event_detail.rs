//! One event with its whole history, as operators see it.

use bytes::Bytes;
use hookbox_event::{ContentDigest, EventId, InstanceId, ReceiptId, RouteName, Timestamp, Topic};
use serde::Serialize;

use crate::{ClaimState, DeferredSince};

/// One event with its whole history.
#[derive(Debug, Clone, Serialize)]
pub struct EventDetail {
    /// Which event.
    pub event: EventId,
    /// What about.
    pub topic: Topic,
    /// Its content digest.
    pub digest: ContentDigest,
    /// Length of the body in bytes.
    pub body_bytes: u64,
    /// The body, as received.
    #[serde(skip)]
    pub body: Bytes,
    /// Reserved: see [`hookbox_event::Envelope::seal`].
    pub seal: Option<String>,
    /// When its first receipt came in.
    pub received_at: Timestamp,
    /// Where it stands on each route.
    pub claims: Vec<ClaimRow>,
    /// Its receipts.
    pub receipts: Vec<ReceiptRow>,
    /// Its recorded attempts: all failed ones, and the one that succeeded after a failure or a
    /// deferral.
    pub attempts: Vec<AttemptRow>,
    /// Its waiting retries.
    pub retries: Vec<RetryRow>,
}

/// Where an event stands on a route.
#[derive(Debug, Clone, Serialize)]
pub struct ClaimRow {
    /// The route.
    pub route: RouteName,
    /// Where it stands.
    pub state: ClaimState,
    /// Attempts made.
    pub attempts: u32,
    /// When it was claimed.
    pub claimed_at: Timestamp,
    /// When it was last settled.
    pub settled_at: Option<Timestamp>,
}

/// One receipt on one route.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptRow {
    /// Which receipt.
    pub receipt: ReceiptId,
    /// The route.
    pub route: RouteName,
    /// Its outcome: done, duplicate, conflict, retrying or dead.
    pub outcome: String,
    /// The id of the secret that verified it.
    pub key_id: String,
    /// The ingest process that accepted it.
    pub instance: InstanceId,
    /// Its sequence number at that process.
    pub number: u64,
    /// The digest of its own body, where the event is stored with another body and its id decides.
    pub other_digest: Option<ContentDigest>,
    /// When it came in.
    pub received_at: Timestamp,
    /// When its outcome was written.
    pub settled_at: Timestamp,
}

/// One attempt.
#[derive(Debug, Clone, Serialize)]
pub struct AttemptRow {
    /// The route.
    pub route: RouteName,
    /// From 1.
    pub attempt: u32,
    /// "done", or the class of its failure.
    pub outcome: String,
    /// The error and its causes, for a failure.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// When it was recorded.
    pub at: Timestamp,
}

/// One waiting retry.
#[derive(Debug, Clone, Serialize)]
pub struct RetryRow {
    /// The route.
    pub route: RouteName,
    /// The attempt it is for.
    pub attempt: u32,
    /// Not before.
    pub not_before: Timestamp,
    /// When it was put into the queue, if it was.
    pub queued_at: Option<Timestamp>,
    /// Why and since when it is deferred, if it waits without having failed.
    pub deferred: Option<DeferredSince>,
}
