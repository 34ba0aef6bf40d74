//! How a scheme reads and writes its headers.

use hookbox_event::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Refusal;

/// Longest header value that is parsed. The longest signature of any scheme here is a list of 16 of
/// under 100 characters.
const HEADER_BYTES_MAX: usize = 4096;

/// The value of a header that must be there exactly once.
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

/// Seconds since the epoch, digits only: no sign, no space, no leading zero, so that one time has
/// one text.
pub(crate) fn seconds(text: &str) -> Result<i64, Refusal> {
    let plain = text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse()
        .ok()
        .filter(|_| plain)
        .ok_or(Refusal::MalformedTimestamp)
}

/// Whether a time is near enough to now.
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

/// A header value of characters that are all allowed in one.
pub(crate) fn value(text: &str) -> HeaderValue {
    // Hex, base64 and digits are visible ASCII, and prefixes are checked when a scheme is built;
    // any other text is sent as an empty value and refused by the verifier.
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
