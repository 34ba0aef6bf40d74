//! Reads a body that may be large, slow, or longer than announced.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::Limits;
use crate::body_memory::{BodyRoom, NoRoom};
use crate::response::NotAccepted;

/// Most bytes that are reserved before any has arrived: enough for nearly every webhook, and little
/// for each of thousands of connections that only announce one.
const RESERVED_MAX: usize = 8 * 1024;

/// How much of a body that is too large is read and discarded. Most senders read no answer before
/// they have written everything, and a connection that is closed with unread bytes is reset, which
/// discards the answer (RFC 9112, section 9.6). Twice what any config allows: a larger body is no
/// webhook, and its sender may be reset.
const DISCARD_MAX: usize = 2 * Limits::BODY_MAX_CAP;

/// The announced length, if any, and what else can be checked before the body is read.
pub(crate) fn check_head(
    headers: &HeaderMap,
    limits: &Limits,
) -> Result<Option<usize>, NotAccepted> {
    // The signature is over the bytes as sent; decompressing them first would allow bombs.
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

/// Reads the whole body: no longer than the limit, in time, and not too slowly. `room` grows with
/// it.
///
/// Bytes count once they have arrived, never when they are announced: a few connections that
/// announce much and send nothing would otherwise keep all others out.
pub(crate) async fn read(
    mut body: Body,
    announced: Option<usize>,
    limits: &Limits,
    mut room: BodyRoom,
) -> Result<(Bytes, BodyRoom), NotAccepted> {
    // Answered before the sender sends the rest, where it is certain already that there is no room.
    room.check(announced.unwrap_or(0))?;
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
        // Trailers carry nothing that is signed.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > limits.body_max {
            drop((bytes, data, room));
            discard(body, began, limits).await;
            return Err(NotAccepted::TooLarge);
        }
        room.grow(data.len())?;
        bytes.extend_from_slice(&data);
    }
}

/// Reads the rest of a refused body, so that its sender can read the reason. It takes no longer
/// than a body may.
pub(crate) async fn discard(mut body: Body, began: Instant, limits: &Limits) {
    let mut read = 0;
    while read < DISCARD_MAX {
        match timeout_at(deadline(began, read, limits), body.frame()).await {
            Ok(Some(Ok(frame))) => read += frame.data_ref().map_or(0, Bytes::len),
            // It has ended, or the sender has disconnected, or both are late.
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

/// When the next byte must arrive: the deadline of the whole body, or the time at which the bytes
/// so far would be too slow, whichever is earlier.
fn deadline(began: Instant, read: usize, limits: &Limits) -> Instant {
    let earned = Duration::from_secs_f64(read as f64 / limits.body_rate_min.max(1) as f64);
    began + limits.body_deadline.min(limits.body_grace + earned)
}
