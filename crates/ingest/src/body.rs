//! Reading a body that cannot be trusted to be small, fast, or as long as it says.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::Limits;
use crate::response::NotAccepted;

/// Most bytes that are set aside before any has come.
const RESERVED_MAX: usize = 64 * 1024;

/// The length that is announced, where one is, and what else can be said before the body is read.
pub(crate) fn check_head(
    headers: &HeaderMap,
    limits: &Limits,
) -> Result<Option<usize>, NotAccepted> {
    // The signature is over the bytes as sent; opening them first invites bombs.
    let identity = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|value| !identity(value))
    {
        return Err(NotAccepted::Encoded);
    }
    match headers.get(CONTENT_LENGTH) {
        None => Ok(None),
        Some(value) => {
            let length = value
                .to_str()
                .ok()
                .and_then(|text| text.parse::<u64>().ok());
            match length {
                Some(length) if length <= limits.body_max as u64 => Ok(Some(length as usize)),
                Some(_) => Err(NotAccepted::TooLarge),
                None => Err(NotAccepted::BrokenBody),
            }
        }
    }
}

/// Reads the whole body: no longer than the limit, in time, and not absurdly slowly.
pub(crate) async fn read(
    mut body: Body,
    announced: Option<usize>,
    limits: &Limits,
) -> Result<Bytes, NotAccepted> {
    let began = Instant::now();
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or(0).min(RESERVED_MAX));
    loop {
        let deadline = deadline(began, bytes.len(), limits);
        let frame = timeout_at(deadline, body.frame()).await;
        let frame = match frame {
            Err(_elapsed) => return Err(NotAccepted::TooSlow),
            Ok(None) => return Ok(bytes.freeze()),
            Ok(Some(Err(_))) => return Err(NotAccepted::BrokenBody),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers carry nothing that is signed.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > limits.body_max {
            return Err(NotAccepted::TooLarge);
        }
        bytes.extend_from_slice(&data);
    }
}

/// When the next byte must be here: the whole body's deadline, or the moment at which what has
/// come would be too slow, whichever is earlier.
fn deadline(began: Instant, read: usize, limits: &Limits) -> Instant {
    let earned = Duration::from_secs_f64(read as f64 / limits.body_rate_min.max(1) as f64);
    began + limits.body_deadline.min(limits.body_grace + earned)
}
