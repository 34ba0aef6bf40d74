//! Refused requests, in the form that operators see.

use hookbox_event::{ReceiptId, Timestamp};
use serde::Serialize;

/// What is stored of a refused request: its reason, address, length and digest, and no body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The id that the response returned to the sender.
    pub request: ReceiptId,
    /// The source that the request was posted to.
    pub source: String,
    /// The name of the reason why the request was refused.
    pub reason: String,
    /// The SHA-256 of the body in hex; `None` when no body was read.
    pub body_digest: Option<String>,
    /// The length of the body in bytes, as far as it was read.
    pub body_bytes: u64,
    /// The address that sent the request.
    pub peer: String,
    /// The moment of the refusal.
    pub at: Timestamp,
}

/// A filter for refused requests. A refusal must match every field that is set.
#[derive(Debug, Clone, Default)]
pub struct RefusalFilter {
    /// Selects only requests to this source.
    pub source: Option<String>,
    /// Selects only requests that were refused for this reason.
    pub reason: Option<String>,
    /// Selects only requests that were refused at this moment or later.
    pub since: Option<Timestamp>,
    /// Selects only requests that were refused before this moment.
    pub until: Option<Timestamp>,
}

/// The refused requests of one source that have the same reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RefusalGroup {
    /// The source that the requests were posted to.
    pub source: String,
    /// The name of the reason why the requests were refused.
    pub reason: String,
    /// The number of requests in the group.
    pub count: u64,
    /// The number of addresses that sent these requests.
    pub peers: u64,
    /// The moment of the group's first refusal.
    pub first_at: Timestamp,
    /// The moment of the group's last refusal.
    pub last_at: Timestamp,
}
