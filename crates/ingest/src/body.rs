//! Reads a request body that may be large, slow, or longer than announced.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::Limits;
use crate::body_memory::{BodyRoom, NoRoom};
use crate::response::NotAccepted;

/// The most bytes that are reserved for a body before its first byte has arrived. That is enough
/// for nearly every webhook, and little memory even for thousands of connections that only announce
/// a body.
const RESERVED_MAX: usize = 8 * 1024;

/// How many bytes of a refused body are read and discarded. Most senders read no answer before they
/// have written everything. A connection that is closed with unread bytes is reset, and a reset
/// discards the answer (RFC 9112, section 9.6). A proxy may take a reset for a failure of ingest,
/// and stop sending. The limit is twice what any config allows: a larger body is no webhook, so the
/// connection of its sender may be reset.
const DISCARD_MAX: usize = 2 * Limits::BODY_MAX_CAP;

/// Checks the headers before the body is read: refuses a compressed body and an announced length
/// over the limit. Returns the length that `Content-Length` announces, or `None` without that
/// header.
pub(crate) fn check_head(
    headers: &HeaderMap,
    limits: &Limits,
) -> Result<Option<usize>, NotAccepted> {
    // A compressed body is refused. Its signature covers the bytes as they were sent, and
    // decompressing a body before its signature is verified would allow decompression bombs.
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

/// Reads the whole body within the limits of size, time and rate. `room`, the share of the memory
/// for bodies that this body uses, grows as bytes arrive.
///
/// Bytes count against the memory limit when they arrive, not when they are announced. Otherwise a
/// few connections that announce large bodies and send nothing would keep all others out.
pub(crate) async fn read(
    mut body: Body,
    announced: Option<usize>,
    limits: &Limits,
    mut room: BodyRoom,
) -> Result<(Bytes, BodyRoom), NotAccepted> {
    let began = Instant::now();
    let mut bytes = BytesMut::with_capacity(announced.unwrap_or(0).min(RESERVED_MAX));
    loop {
        let deadline = deadline(began, bytes.len(), limits);
        let frame = timeout_at(deadline, body.frame()).await;
        let frame = match frame {
            Err(_elapsed) => return Err(NotAccepted::TooSlow),
            Ok(None) => return Ok((bytes.freeze(), room)),
            Ok(Some(Err(_))) => return Err(NotAccepted::BrokenBody),
            Ok(Some(Ok(frame))) => frame,
        };
        // Trailers, which are headers after a body, are skipped, because no signature covers them.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let arrived = bytes.len() + data.len();
        let fits = if arrived > limits.body_max {
            Err(NotAccepted::TooLarge)
        } else {
            room.grow(data.len()).map_err(NotAccepted::from)
        };
        if let Err(why) = fits {
            drop((bytes, data, room));
            discard(body, (began, arrived), limits).await;
            return Err(why);
        }
        bytes.extend_from_slice(&data);
    }
}

/// Reads and discards the body of a request that is refused before its body is read.
pub(crate) async fn discard_unread(headers: &HeaderMap, body: Body, limits: &Limits) {
    // A sender that waits for `100 Continue` has not sent its body yet, and does not send it after
    // a refusal. So there is nothing to discard, and reading would ask for the body.
    if !headers.contains_key(EXPECT) {
        discard(body, (Instant::now(), 0), limits).await;
    }
}

/// Reads and discards the rest of a refused body, so that its sender can read the reason. The
/// deadlines are those of an accepted body, so no sender keeps its connection longer by a refused
/// one: reading began at `began`, and the bytes that have `arrived` since then count for the rate.
async fn discard(mut body: Body, (began, arrived): (Instant, usize), limits: &Limits) {
    let mut discarded = 0;
    while discarded < DISCARD_MAX {
        let deadline = deadline(began, arrived + discarded, limits);
        match timeout_at(deadline, body.frame()).await {
            Ok(Some(Ok(frame))) => discarded += frame.data_ref().map_or(0, Bytes::len),
            // Nothing is left to discard: the body has ended, the sender has disconnected, or a
            // deadline has passed.
            Ok(None | Some(Err(_))) | Err(_) => return,
        }
    }
}

impl From<NoRoom> for NotAccepted {
    fn from(why: NoRoom) -> Self {
        match why {
            NoRoom::Full => NotAccepted::TooBusy,
            NoRoom::AddressFull => NotAccepted::AddressBusy,
        }
    }
}

/// Returns when the next byte must have arrived: at the deadline of the whole body, or when the
/// bytes read so far fall below the minimum rate, whichever is earlier.
fn deadline(began: Instant, read: usize, limits: &Limits) -> Instant {
    let earned = Duration::from_secs_f64(read as f64 / limits.body_rate_min.max(1) as f64);
    began + limits.body_deadline.min(limits.body_grace + earned)
}
