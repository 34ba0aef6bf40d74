//! The signature schemes that hookbox supports.

use bytes::Bytes;
use hookbox_event::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{HmacScheme, Key, Refusal, Verified, hmac, standard_webhooks};

/// A signature scheme: a way of signing requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// An HMAC over the body, and optionally over a timestamp, in a header.
    Hmac(HmacScheme),
    /// [Standard Webhooks](https://www.standardwebhooks.com) 1.0 with symmetric keys.
    StandardWebhooks {
        /// How far the timestamp may be from now, in both directions.
        tolerance: std::time::Duration,
    },
}

/// Verifies a request's signature over its raw body, in constant time, against every key that is
/// valid now.
pub fn verify(
    scheme: &Scheme,
    keys: &[Key],
    headers: &HeaderMap,
    body: Bytes,
    now: Timestamp,
) -> Result<Verified, Refusal> {
    let keys: Vec<&Key> = keys.iter().filter(|key| key.is_valid(now)).collect();
    if keys.is_empty() {
        return Err(Refusal::NoValidKey);
    }
    match scheme {
        Scheme::Hmac(scheme) => hmac::verify(scheme, &keys, headers, body, now),
        Scheme::StandardWebhooks { tolerance } => {
            standard_webhooks::verify(*tolerance, &keys, headers, body, now)
        }
    }
}

/// Signs a body as a sender does, for the commands `send` and `generate`. A scheme that signs a
/// message id uses `id`; the others ignore it.
pub fn sign(
    scheme: &Scheme,
    key: &Key,
    body: &[u8],
    now: Timestamp,
    id: &str,
) -> Vec<(HeaderName, HeaderValue)> {
    match scheme {
        Scheme::Hmac(scheme) => hmac::sign(scheme, key, body, now),
        Scheme::StandardWebhooks { .. } => {
            standard_webhooks::sign(std::slice::from_ref(key), body, now, id)
        }
    }
}

/// Checks a configured scheme: hookbox signs a request with it, and verifies the request. If that
/// fails, no request from the provider can ever verify. Before the verification, the white space
/// around header values is removed, because HTTP removes it on the way.
pub fn can_verify(scheme: &Scheme, key: &Key, now: Timestamp) -> Result<(), Refusal> {
    let body = Bytes::from_static(b"{}");
    let mut headers = HeaderMap::new();
    for (name, value) in sign(scheme, key, &body, now, "msg_probe") {
        let carried = HeaderValue::from_bytes(value.as_bytes().trim_ascii());
        headers.append(name, carried.map_err(|_| Refusal::UnreadableHeader)?);
    }
    verify(scheme, std::slice::from_ref(key), &headers, body, now).map(drop)
}
