//! Standard Webhooks 1.0 (<https://www.standardwebhooks.com>) with symmetric signatures.
//!
//! This code differs from the reference library in three ways. First, it verifies the signature
//! over the original text of the timestamp header. If the timestamp were parsed and written again,
//! `+1` and `01` would verify as `1`. Second, it accepts bodies that are not UTF-8. Third, no
//! timestamp makes its arithmetic overflow.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hookbox_event::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::header::{check_tolerance, seconds, single, value};
use crate::hmac::{Algorithm, tag, verifies_any};
use crate::{Key, Refusal, Verified};

static ID: HeaderName = HeaderName::from_static("webhook-id");
static TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
static SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// The most candidate signatures in one header. The specification allows several for key rotation;
/// more than 16 would be an attempt to exhaust the CPU.
const CANDIDATES_MAX: usize = 16;

/// The longest message id, in bytes: the limit of an AMQP short string.
const ID_BYTES_MAX: usize = 255;

pub(crate) fn verify(
    tolerance: Duration,
    keys: &[&Key],
    headers: &HeaderMap,
    body: Bytes,
    now: Timestamp,
) -> Result<Verified, Refusal> {
    let id = single(headers, &ID)?;
    // The signed text is `{id}.{timestamp}.{body}`. With a dot in the id, two different messages
    // could have the same signed text.
    if id.is_empty() || id.len() > ID_BYTES_MAX || id.contains('.') {
        return Err(Refusal::MalformedId);
    }
    let stamp = single(headers, &TIMESTAMP)?;
    let signed_at = seconds(stamp)?;
    let signatures = candidates(single(headers, &SIGNATURE)?)?;
    let prefix = format!("{id}.{stamp}.");
    let parts = [prefix.as_bytes(), &body];
    let mut by = None;
    for key in keys {
        if verifies_any(Algorithm::Sha256, key, &parts, &signatures) && by.is_none() {
            by = Some(*key);
        }
    }
    let key = by.ok_or(Refusal::WrongSignature)?;
    check_tolerance(signed_at, now, tolerance)?;
    let id = id.to_owned();
    Ok(Verified::new(body, key.id(), Some(id)))
}

/// Returns the decoded signatures of version 1 in the header. Signatures of other versions
/// (asymmetric ones) are skipped, as the specification requires.
fn candidates(text: &str) -> Result<Vec<Vec<u8>>, Refusal> {
    let all: Vec<&str> = text.split(' ').collect();
    if all.len() > CANDIDATES_MAX {
        return Err(Refusal::TooManySignatures);
    }
    let known: Vec<Vec<u8>> = all
        .iter()
        .filter_map(|candidate| candidate.strip_prefix("v1,"))
        .filter_map(|text| STANDARD.decode(text).ok())
        .filter(|bytes| bytes.len() == 32)
        .collect();
    if known.is_empty() {
        Err(Refusal::MalformedSignature)
    } else {
        Ok(known)
    }
}

/// Signs a body with each of the keys, and returns the headers. The receiver accepts a request if
/// it knows one of the keys, so keys can be rotated.
///
/// `id` is the message id, of at most 255 visible ASCII characters and without a dot.
pub fn sign(keys: &[Key], body: &[u8], now: Timestamp, id: &str) -> Vec<(HeaderName, HeaderValue)> {
    let stamp = now.unix_seconds().to_string();
    let prefix = format!("{id}.{stamp}.");
    let signatures = keys.iter().map(|key| {
        let tag = tag(Algorithm::Sha256, key, &[prefix.as_bytes(), body]);
        format!("v1,{}", STANDARD.encode(tag))
    });
    let signatures: Vec<String> = signatures.collect();
    vec![
        (ID.clone(), value(id)),
        (TIMESTAMP.clone(), value(&stamp)),
        (SIGNATURE.clone(), value(&signatures.join(" "))),
    ]
}

/// Decodes a secret in the specification's encoding: base64, with or without the prefix `whsec_`.
pub(crate) fn secret(text: &str) -> Option<Vec<u8>> {
    STANDARD
        .decode(text.strip_prefix("whsec_").unwrap_or(text))
        .ok()
}

#[cfg(test)]
mod tests;
