//! Reads and writes the headers of signature schemes.

use hookbox_event::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Refusal;

/// The longest header value that is parsed, in bytes. The longest signature of any supported scheme
/// is a list of 16 signatures of under 100 characters each.
const HEADER_BYTES_MAX: usize = 4096;

/// Returns the value of a header that must occur exactly once.
pub(crate) fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h str, Refusal> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().ok_or(Refusal::MissingHeader)?;
    if values.next().is_some() {
        return Err(Refusal::RepeatedHeader);
    }
    if value.len() > HEADER_BYTES_MAX {
        return Err(Refusal::UnreadableHeader);
    }
    value.to_str().map_err(|_| Refusal::UnreadableHeader)
}

/// Parses seconds since the Unix epoch. Only digits are allowed, without sign, space or leading
/// zero, so that each time can be written in only one way.
pub(crate) fn seconds(text: &str) -> Result<i64, Refusal> {
    let plain = text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse()
        .ok()
        .filter(|_| plain)
        .ok_or(Refusal::MalformedTimestamp)
}

/// Checks that a signed time, in seconds since the Unix epoch, is at most `tolerance` before or
/// after now.
pub(crate) fn check_tolerance(
    seconds: i64,
    now: Timestamp,
    tolerance: std::time::Duration,
) -> Result<(), Refusal> {
    let apart = now.unix_seconds().abs_diff(seconds);
    if apart > tolerance.as_secs() {
        Err(Refusal::OutOfTolerance)
    } else {
        Ok(())
    }
}

/// Makes a header value from a text. A text with a character that is not allowed in header values
/// gives an empty value.
pub(crate) fn value(text: &str) -> HeaderValue {
    // Hex, base64 and digits are visible ASCII, and prefixes are checked when a scheme is built.
    // Any other text, such as an unusual message id, becomes an empty value, which the verifier
    // refuses.
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
