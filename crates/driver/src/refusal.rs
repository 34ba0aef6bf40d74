//! Refused requests, as operators see them.

use hookbox_event::{ReceiptId, Timestamp};
use serde::Serialize;

/// One refused request, as far as it may be kept: digests, not bodies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The id that the response gave to the sender.
    pub request: ReceiptId,
    /// The source it was posted to.
    pub source: String,
    /// Why: the name of the refusal.
    pub reason: String,
    /// SHA-256 of the body, in hex, when one was read.
    pub body_digest: Option<String>,
    /// Length of the body in bytes, as far as it was read.
    pub body_bytes: u64,
    /// From where.
    pub peer: String,
    /// When.
    pub at: Timestamp,
}

/// Which refusals. Every field narrows.
#[derive(Debug, Clone, Default)]
pub struct RefusalFilter {
    /// Only of requests to this source.
    pub source: Option<String>,
    /// Only for this reason.
    pub reason: Option<String>,
    /// Only then or later.
    pub since: Option<Timestamp>,
    /// Only before.
    pub until: Option<Timestamp>,
}

/// Refusals of one source for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusalGroup {
    /// The source.
    pub source: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// From how many addresses.
    pub peers: u64,
    /// When the first of them was.
    pub first_at: Timestamp,
    /// When the last of them was.
    pub last_at: Timestamp,
}
