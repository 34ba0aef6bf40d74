//! The history of one event, as `events show` and `dead show` report it. The body is a separate
//! field that is filled only on request, and reading it writes an audit row.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookbox_driver::EventDetail;
use serde::Serialize;

/// One event with its whole history. Times are in UTC, in the format of RFC 3339.
#[derive(Debug, Clone, Serialize)]
pub struct History {
    /// The event id, 32 hex digits.
    pub event: String,
    /// The topic of the event.
    pub topic: String,
    /// The content digest of the body in hex: the SHA-256 digest of its canonical form, or the
    /// HMAC-SHA-256 under the identity key, if the config has one.
    pub digest: String,
    /// The length of the body in bytes.
    pub body_bytes: u64,
    /// Reserved for the id of the key that a body is sealed with; no body is sealed yet.
    pub sealed_with: Option<String>,
    /// When the first receipt of the event arrived.
    pub received_at: String,
    /// The state of the event on each route.
    pub claims: Vec<Claim>,
    /// The receipts of the event, each once for every route that it went to.
    pub receipts: Vec<Receipt>,
    /// The attempts on the event that failed. A successful attempt is listed only if an earlier
    /// attempt had failed.
    pub attempts: Vec<Attempt>,
    /// The retries of the event that have not run yet.
    pub retries: Vec<Retry>,
    /// The body, if it was requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
}

/// The state of an event on a route.
#[derive(Debug, Clone, Serialize)]
pub struct Claim {
    /// The route on which the event has this state.
    pub route: String,
    /// The state on the route: running, done, retrying, dead or stale.
    pub state: &'static str,
    /// How many attempts were made on the event on this route.
    pub attempts: u32,
    /// When the event was claimed on this route.
    pub claimed_at: String,
    /// When the last outcome of the event on this route was recorded; null if it has none yet.
    pub settled_at: Option<String>,
    /// The number of the event's last lease for an external call; null if it never had one.
    pub epoch: Option<u32>,
}

/// One receipt of the event on one route.
#[derive(Debug, Clone, Serialize)]
pub struct Receipt {
    /// The receipt id.
    pub receipt: String,
    /// The route to which the receipt went.
    pub route: String,
    /// The outcome of the receipt: done, duplicate, conflict, retrying, dead or stale.
    pub outcome: String,
    /// The id of the key that verified the request.
    pub key_id: String,
    /// The id of the ingest process that accepted the request.
    pub instance: String,
    /// The sequence number that the ingest process gave the receipt.
    pub number: u64,
    /// The digest of this receipt's own body, if it differs from the stored body of the event. A
    /// receipt has such a body only if `on_conflict` is `duplicate` for the topic. Null otherwise.
    pub other_digest: Option<String>,
    /// When the receipt arrived.
    pub received_at: String,
    /// When the outcome of the receipt was last written.
    pub settled_at: String,
}

/// One attempt on the event on one route.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// The route on which the attempt was made.
    pub route: String,
    /// The number of the attempt, counting from 1.
    pub attempt: u32,
    /// "done", or the class of the failure.
    pub outcome: String,
    /// The error that the attempt ended with, and its causes; null if it succeeded.
    pub error: Option<String>,
    /// How long the attempt took, in milliseconds.
    pub took_ms: u64,
    /// When the attempt was recorded.
    pub at: String,
}

/// One retry that waits for its time.
#[derive(Debug, Clone, Serialize)]
pub struct Retry {
    /// The route on which the event waits.
    pub route: String,
    /// The number of the attempt that the retry is for.
    pub attempt: u32,
    /// The time before which the attempt is not made.
    pub not_before: String,
    /// When the retry was put into its queue; null while it still waits in the store.
    pub queued_at: Option<String>,
    /// Why the event is deferred, which costs no attempt; null if it is not deferred.
    pub deferred: Option<String>,
    /// Since when the event has been deferred; null if it is not deferred.
    pub deferred_since: Option<String>,
    /// The target of the external call for which the event is leased; null if it is not leased.
    pub target: Option<String>,
}

/// A body exactly as it was received: as text if it is UTF-8, and otherwise as base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "encoding", content = "body", rename_all = "snake_case")]
pub enum Body {
    /// UTF-8 text.
    Text(String),
    /// The bytes as base64 (RFC 4648 §4).
    Base64(String),
}

impl Body {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Body::Text(text.to_owned()),
            Err(_) => Body::Base64(STANDARD.encode(bytes)),
        }
    }
}

impl History {
    /// Builds the report on an event, without its body.
    pub(crate) fn of(detail: &EventDetail) -> Self {
        Self {
            event: detail.event.to_string(),
            topic: detail.topic.to_string(),
            digest: detail.digest.to_string(),
            body_bytes: detail.body_bytes,
            sealed_with: detail.seal.clone(),
            received_at: detail.received_at.to_string(),
            claims: claims(detail),
            receipts: receipts(detail),
            attempts: attempts(detail),
            retries: retries(detail),
            body: None,
        }
    }
}

fn claims(detail: &EventDetail) -> Vec<Claim> {
    let claim = |claim: &hookbox_driver::ClaimRow| Claim {
        route: claim.route.to_string(),
        state: claim.state.as_str(),
        attempts: claim.attempts,
        claimed_at: claim.claimed_at.to_string(),
        settled_at: claim.settled_at.map(|at| at.to_string()),
        epoch: claim.epoch,
    };
    detail.claims.iter().map(claim).collect()
}

fn receipts(detail: &EventDetail) -> Vec<Receipt> {
    let receipt = |receipt: &hookbox_driver::ReceiptRow| Receipt {
        receipt: receipt.receipt.to_string(),
        route: receipt.route.to_string(),
        outcome: receipt.outcome.clone(),
        key_id: receipt.key_id.clone(),
        instance: receipt.instance.to_string(),
        number: receipt.number,
        other_digest: receipt.other_digest.map(|digest| digest.to_string()),
        received_at: receipt.received_at.to_string(),
        settled_at: receipt.settled_at.to_string(),
    };
    detail.receipts.iter().map(receipt).collect()
}

fn attempts(detail: &EventDetail) -> Vec<Attempt> {
    let attempt = |attempt: &hookbox_driver::AttemptRow| Attempt {
        route: attempt.route.to_string(),
        attempt: attempt.attempt,
        outcome: attempt.outcome.clone(),
        error: attempt.error.clone(),
        took_ms: attempt.took_ms,
        at: attempt.at.to_string(),
    };
    detail.attempts.iter().map(attempt).collect()
}

fn retries(detail: &EventDetail) -> Vec<Retry> {
    let retry = |retry: &hookbox_driver::RetryRow| Retry {
        route: retry.route.to_string(),
        attempt: retry.attempt,
        not_before: retry.not_before.to_string(),
        queued_at: retry.queued_at.map(|at| at.to_string()),
        deferred: retry.deferred.map(|it| it.reason.as_str().to_owned()),
        deferred_since: retry.deferred.map(|it| it.since.to_string()),
        target: retry.target.as_ref().map(ToString::to_string),
    };
    detail.retries.iter().map(retry).collect()
}
