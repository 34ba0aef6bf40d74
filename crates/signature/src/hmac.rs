//! An HMAC over the raw body in a header: Begini, GitHub and most others.

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

/// The hash inside the HMAC (RFC 2104). SHA-1 is not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC-SHA-256.
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// How the signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Lower-case hex. Upper case is refused: one signature has one text.
    Hex,
    /// Hex in either case, for senders whose documentation does not specify one (RFC 4648 §8).
    /// Signatures are compared as bytes, so nothing else verifies than with [`Encoding::Hex`].
    HexAnyCase,
    /// Base64 with the standard alphabet and padding (RFC 4648 §4).
    Base64,
}

/// One way of writing an HMAC into a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HmacScheme {
    /// The hash.
    pub algorithm: Algorithm,
    /// How the signature is written.
    pub encoding: Encoding,
    /// The header.
    pub header: HeaderName,
    /// The text before the signature, exactly: `sha256=`, or nothing.
    pub prefix: String,
    /// The timestamp that is signed with the body, if any.
    pub timestamp: Option<TimestampRule>,
}

/// A timestamp that is part of the signed text: `{timestamp}{separator}{body}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimestampRule {
    /// The header that holds it, in Unix seconds.
    pub header: HeaderName,
    /// The text between the timestamp and the body.
    pub separator: String,
    /// How far it may be from now, both ways.
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
    let signature = decode(scheme, text)?;
    // Signed over the original text, never over a reformatted number.
    let stamped = match &scheme.timestamp {
        Some(rule) => Some((rule, single(headers, &rule.header)?)),
        None => None,
    };
    let prefix = stamped.map(|(rule, text)| format!("{text}{}", rule.separator));
    let parts = [prefix.as_deref().unwrap_or("").as_bytes(), &body];
    let mut by = None;
    for key in keys {
        // Every key is tried, whatever the result of the others: the time does not reveal which one
        // matched.
        if verifies(scheme.algorithm, key, &parts, &signature) && by.is_none() {
            by = Some(*key);
        }
    }
    let key = by.ok_or(Refusal::WrongSignature)?;
    if let Some((rule, text)) = stamped {
        check_tolerance(seconds(text)?, now, rule.tolerance)?;
    }
    let id = key.id().to_owned();
    Ok(Verified::new(body, &id, None))
}

/// Strict: exact prefix, exact length, one alphabet.
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

/// Constant-time: `verify_slice` compares whole tags of the exact length.
pub(crate) fn verifies(algorithm: Algorithm, key: &Key, parts: &[&[u8]], signature: &[u8]) -> bool {
    match algorithm {
        Algorithm::Sha256 => mac::<Hmac<Sha256>>(key, parts)
            .verify_slice(signature)
            .is_ok(),
        Algorithm::Sha512 => mac::<Hmac<Sha512>>(key, parts)
            .verify_slice(signature)
            .is_ok(),
    }
}

fn mac<M: Mac + KeyInit>(key: &Key, parts: &[&[u8]]) -> M {
    // RFC 2104 takes a key of any length.
    let mut mac = <M as KeyInit>::new_from_slice(key.secret()).expect("any length is a key");
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
        // What a sender with this setting is likely to write.
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
