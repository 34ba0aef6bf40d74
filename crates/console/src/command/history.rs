//! The history of one event, as `events show` and `dead show` report it. The body is a field of its
//! own that is only filled when it was asked for, and reading it writes an audit row.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hookbox_driver::EventDetail;
use serde::Serialize;

/// One event with its whole history. Times are RFC 3339, in UTC.
#[derive(Debug, Clone, Serialize)]
pub struct History {
    /// The id, 64 hex digits.
    pub event: String,
    /// The topic.
    pub topic: String,
    /// SHA-256 of the canonical body, in hex.
    pub digest: String,
    /// Length of the body.
    pub body_bytes: u64,
    /// Reserved for the id of a key that the body is sealed with: nothing seals a body yet.
    pub sealed_with: Option<String>,
    /// When its first receipt arrived.
    pub received_at: String,
    /// Its state on each route.
    pub claims: Vec<Claim>,
    /// Its receipts.
    pub receipts: Vec<Receipt>,
    /// Its attempts: all that failed, and the one that succeeded after a failure.
    pub attempts: Vec<Attempt>,
    /// Its waiting retries.
    pub retries: Vec<Retry>,
    /// The body, when it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
}

/// The state of an event on a route.
#[derive(Debug, Clone, Serialize)]
pub struct Claim {
    /// The route.
    pub route: String,
    /// running, done, retrying or dead.
    pub state: &'static str,
    /// Attempts made.
    pub attempts: u32,
    /// When it was claimed.
    pub claimed_at: String,
    /// When it was last settled.
    pub settled_at: Option<String>,
}

/// One receipt on one route.
#[derive(Debug, Clone, Serialize)]
pub struct Receipt {
    /// Its id.
    pub receipt: String,
    /// The route.
    pub route: String,
    /// done, duplicate, conflict, retrying or dead.
    pub outcome: String,
    /// The id of the secret that verified it.
    pub key_id: String,
    /// The ingest process that accepted it.
    pub instance: String,
    /// That process's number for it.
    pub number: u64,
    /// The digest of its own body, where it differs from the stored one: the event id decided.
    pub other_digest: Option<String>,
    /// When it arrived.
    pub received_at: String,
    /// When its outcome was written.
    pub settled_at: String,
}

/// One attempt.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// The route.
    pub route: String,
    /// From 1.
    pub attempt: u32,
    /// "done", or the class of the failure.
    pub outcome: String,
    /// The error and its causes.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// When it was recorded.
    pub at: String,
}

/// One waiting retry.
#[derive(Debug, Clone, Serialize)]
pub struct Retry {
    /// The route.
    pub route: String,
    /// The number of the attempt.
    pub attempt: u32,
    /// The earliest time of the attempt.
    pub not_before: String,
    /// When it was put into the queue.
    pub queued_at: Option<String>,
    /// Why it is deferred without an attempt, if it is.
    pub deferred: Option<String>,
    /// Since when it is deferred.
    pub deferred_since: Option<String>,
}

/// A body, exactly: as text where it is UTF-8, as base64 where it is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "encoding", content = "body", rename_all = "snake_case")]
pub enum Body {
    /// UTF-8 text.
    Text(String),
    /// Base64 (RFC 4648 §4) of the bytes.
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
    /// The report on an event, without its body.
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
    };
    detail.retries.iter().map(retry).collect()
}
