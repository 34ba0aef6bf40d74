//! Signatures that are an HMAC over the raw body, in a header: Begini, GitHub and most other
//! providers.

use std::time::Duration;

use ::hmac::{Hmac, KeyInit, Mac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hookbox_event::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Sha256, Sha512};

use crate::header::{check_tolerance, seconds, single, value};
use crate::{Key, Refusal, Verified};

/// The hash function of the HMAC (RFC 2104). SHA-1 is not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// How the signature is encoded in its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Lower-case hex. Upper case is refused, so that each signature can be written in only one
    /// way.
    Hex,
    /// Hex in either case, for senders whose documentation does not specify the case (RFC 4648 §8).
    /// Only the case is ignored: a signature verifies if [`Encoding::Hex`] would accept it after a
    /// conversion to lower case.
    HexAnyCase,
    /// Base64 with the standard alphabet and padding (RFC 4648 §4).
    Base64,
}

/// A scheme that writes an HMAC into a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HmacScheme {
    /// The hash function of the HMAC.
    pub algorithm: Algorithm,
    /// How the signature is encoded.
    pub encoding: Encoding,
    /// The header that contains the signature.
    pub header: HeaderName,
    /// The exact text before the signature, such as `sha256=`; it may be empty.
    pub prefix: String,
    /// The timestamp that is signed together with the body, if the scheme has one.
    pub timestamp: Option<TimestampRule>,
}

/// A timestamp that is part of the signed text, which is `{timestamp}{separator}{body}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampRule {
    /// The header that contains the timestamp, in Unix seconds.
    pub header: HeaderName,
    /// The text between the timestamp and the body.
    pub separator: String,
    /// How far the timestamp may be from now, in both directions.
    pub tolerance: Duration,
}

pub(crate) fn verify(
    scheme: &HmacScheme,
    keys: &[&Key],
    headers: &HeaderMap,
    body: Bytes,
    now: Timestamp,
) -> Result<Verified, Refusal> {
    let text = single(headers, &scheme.header)?;
    let signatures = [decode(scheme, text)?];
    // The signature is verified over the text of the timestamp as it is in the header, and never
    // over a number that was parsed and written again.
    let stamped = match &scheme.timestamp {
        Some(rule) => Some((rule, single(headers, &rule.header)?)),
        None => None,
    };
    let prefix = stamped.map(|(rule, text)| format!("{text}{}", rule.separator));
    let parts = [prefix.as_deref().unwrap_or("").as_bytes(), &body];
    let mut by = None;
    for key in keys {
        // Every key is tried even after one has matched, so that the duration does not reveal which
        // key matched.
        if verifies_any(scheme.algorithm, key, &parts, &signatures) && by.is_none() {
            by = Some(*key);
        }
    }
    let key = by.ok_or(Refusal::WrongSignature)?;
    if let Some((rule, text)) = stamped {
        check_tolerance(seconds(text)?, now, rule.tolerance)?;
    }
    Ok(Verified::new(body, key.id(), None))
}

/// Decodes a signature. Everything but the exact prefix, the exact length and the characters of the
/// configured encoding is refused.
fn decode(scheme: &HmacScheme, text: &str) -> Result<Vec<u8>, Refusal> {
    let text = text
        .strip_prefix(&scheme.prefix)
        .ok_or(Refusal::MalformedSignature)?;
    let decoded = match scheme.encoding {
        Encoding::Hex if text.bytes().any(|c| c.is_ascii_uppercase()) => None,
        Encoding::Hex | Encoding::HexAnyCase => hex::decode(text).ok(),
        Encoding::Base64 => STANDARD.decode(text).ok(),
    };
    let length = match scheme.algorithm {
        Algorithm::Sha256 => 32,
        Algorithm::Sha512 => 64,
    };
    decoded
        .filter(|bytes| bytes.len() == length)
        .ok_or(Refusal::MalformedSignature)
}

/// Returns whether one of the signatures is that of the key. The text is hashed only once, so that
/// many signatures cost hardly more time than one. All of them are compared even after one has
/// matched. `verify_slice` takes the same time wherever the first wrong byte is, and refuses a
/// signature that was shortened.
pub(crate) fn verifies_any(
    algorithm: Algorithm,
    key: &Key,
    parts: &[&[u8]],
    signatures: &[Vec<u8>],
) -> bool {
    match algorithm {
        Algorithm::Sha256 => any_is_of(&mac::<Hmac<Sha256>>(key, parts), signatures),
        Algorithm::Sha512 => any_is_of(&mac::<Hmac<Sha512>>(key, parts), signatures),
    }
}

fn any_is_of<M: Mac + Clone>(mac: &M, signatures: &[Vec<u8>]) -> bool {
    signatures.iter().fold(false, |found, signature| {
        mac.clone().verify_slice(signature).is_ok() | found
    })
}

fn mac<M: Mac + KeyInit>(key: &Key, parts: &[&[u8]]) -> M {
    // `new_from_slice` cannot fail here, because HMAC accepts keys of any length (RFC 2104).
    let mut mac =
        <M as KeyInit>::new_from_slice(key.secret()).expect("HMAC must accept a key of any length");
    for part in parts {
        mac.update(part);
    }
    mac
}

pub(crate) fn tag(algorithm: Algorithm, key: &Key, parts: &[&[u8]]) -> Vec<u8> {
    match algorithm {
        Algorithm::Sha256 => mac::<Hmac<Sha256>>(key, parts)
            .finalize()
            .into_bytes()
            .to_vec(),
        Algorithm::Sha512 => mac::<Hmac<Sha512>>(key, parts)
            .finalize()
            .into_bytes()
            .to_vec(),
    }
}

pub(crate) fn sign(
    scheme: &HmacScheme,
    key: &Key,
    body: &[u8],
    now: Timestamp,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    let mut prefix = String::new();
    if let Some(rule) = &scheme.timestamp {
        let stamp = now.unix_seconds().to_string();
        headers.push((rule.header.clone(), value(&stamp)));
        prefix = stamp + &rule.separator;
    }
    let tag = tag(scheme.algorithm, key, &[prefix.as_bytes(), body]);
    let text = match scheme.encoding {
        Encoding::Hex => hex::encode(tag),
        // A config allows upper and lower case for a sender that probably writes upper case, so the
        // simulated sender writes upper case too.
        Encoding::HexAnyCase => hex::encode_upper(tag),
        Encoding::Base64 => STANDARD.encode(tag),
    };
    headers.push((
        scheme.header.clone(),
        value(&format!("{}{text}", scheme.prefix)),
    ));
    headers
}

#[cfg(test)]
mod tests;
