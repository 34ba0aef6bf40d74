//! Refused requests, in the form that operators see.

use hookbox_event::{ReceiptId, Timestamp};
use serde::Serialize;

/// What may be kept of a refused request: digests, and no body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The id that the response returned to the sender.
    pub request: ReceiptId,
    /// The source that the request was posted to.
    pub source: String,
    /// The name of the reason for the refusal.
    pub reason: String,
    /// The SHA-256 of the body in hex, when a body was read.
    pub body_digest: Option<String>,
    /// The length of the body in bytes, as far as it was read.
    pub body_bytes: u64,
    /// From where.
    pub peer: String,
    /// When.
    pub at: Timestamp,
}

/// A filter for refusals. A refusal must match every field that is set.
#[derive(Debug, Clone, Default)]
pub struct RefusalFilter {
    /// Keeps only requests to this source.
    pub source: Option<String>,
    /// Keeps only rows with this reason.
    pub reason: Option<String>,
    /// Keeps only rows written at this moment or later.
    pub since: Option<Timestamp>,
    /// Only before.
    pub until: Option<Timestamp>,
}

/// The refusals of one source for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusalGroup {
    /// The source.
    pub source: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// The number of addresses that sent these requests.
    pub peers: u64,
    /// The moment of the first refusal.
    pub first_at: Timestamp,
    /// The moment of the last refusal.
    pub last_at: Timestamp,
}
