//! The wire format of broker messages. A message is a batch of envelopes, and each envelope can be
//! decoded or skipped independently of the others. Every version of the format that was ever
//! written has a golden file in `schemas/wire/`.
//!
//! ```text
//! batch    = "HKBX" version:u8 frame*
//! frame    = length:u32be envelope
//! envelope = version:u8 header_length:u32be header body
//! header   = a JSON object; readers ignore members they do not know
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize, Serializer};

use crate::hex_text::HexText;
use crate::{
    ContentDigest, Envelope, EventId, IdDigest, InstanceId, ReceiptId, Redo, SourceName, Timestamp,
    Topic,
};

const MAGIC: &[u8; 4] = b"HKBX";

/// The version of the batch format that this build writes.
pub const BATCH_VERSION: u8 = 1;

/// The version of the envelope format that this build writes.
pub const ENVELOPE_VERSION: u8 = 1;

/// One frame of a batch: a decoded envelope, or bytes that could not be decoded.
pub type Frame = Result<Envelope, BadFrame>;

/// A frame that this build cannot decode as an envelope. Its bytes are stored and never dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFrame {
    /// The bytes of the frame, unchanged.
    pub bytes: Bytes,
    /// Why the bytes cannot be decoded.
    pub error: WireError,
}

/// The error for a message that this build cannot decode as a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message is not a batch of envelopes")]
pub struct BadBatch(#[source] pub WireError);

/// Why bytes are not a valid batch, envelope, accept report or witness message. Safe to log,
/// because the error never quotes the bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes do not start with the four letters that mark a batch, an accept report or a
    /// witness message.
    #[error("it does not start with the mark of a batch, an accept report or a witness message")]
    NotABatch,
    /// The bytes have a version that this build does not know, because a newer build wrote them.
    #[error("it is of version {0}, which this build does not know; upgrade hookbox")]
    UnknownVersion(u8),
    /// The bytes end before the end that their lengths state.
    #[error("it is cut off: it ends before the end that its lengths state")]
    Truncated,
    /// The header is not valid for the version that the bytes state.
    #[error("its header cannot be read (at column {column})")]
    BadHeader {
        /// The column in the JSON text of the header at which decoding failed.
        column: usize,
    },
}

/// The header of an envelope, as it is written: [`Header`] without copies of its texts.
#[derive(Serialize)]
struct HeaderToWrite<'a> {
    receipt: ReceiptId,
    source: &'a SourceName,
    topic: &'a Topic,
    event: WireId,
    digest: ContentDigest,
    received_at: Timestamp,
    key_id: &'a str,
    instance: InstanceId,
    number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    redo: Option<Redo>,
}

/// The header of an envelope, as it is read.
#[derive(Deserialize)]
struct Header {
    receipt: ReceiptId,
    source: SourceName,
    topic: Topic,
    event: WireId,
    digest: ContentDigest,
    received_at: Timestamp,
    key_id: String,
    instance: InstanceId,
    number: u64,
    #[serde(default)]
    seal: Option<String>,
    #[serde(default)]
    traceparent: Option<String>,
    #[serde(default)]
    redo: Option<Redo>,
}

/// The id of an event on the wire. If the whole digest is known, the whole digest is written, so
/// that a worker of the previous version can read the envelope: in that version, the event id is
/// the whole digest.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct WireId {
    event: EventId,
    tail: Option<[u8; 16]>,
}

impl Serialize for WireId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(tail) = self.tail else {
            return self.event.serialize(serializer);
        };
        let mut digest = [0; 32];
        digest[..16].copy_from_slice(self.event.as_bytes());
        digest[16..].copy_from_slice(&tail);
        serializer.serialize_str(HexText::of(&digest).as_str())
    }
}

impl TryFrom<String> for WireId {
    type Error = hex::FromHexError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.len() == EventId::EARLIER_DIGITS {
            let digest: IdDigest = text.parse()?;
            return Ok(Self {
                event: digest.event(),
                tail: Some(digest.tail()),
            });
        }
        Ok(Self {
            event: text.parse()?,
            tail: None,
        })
    }
}

/// The number of bytes that are reserved for the header of an envelope, so that the buffer of a
/// batch seldom grows: a header has about 420 bytes, and a topic at most 200.
const HEADER_ROOM: usize = 512;

/// Encodes envelopes as one batch of the newest version.
pub fn encode_batch(envelopes: &[Envelope]) -> Bytes {
    let body_bytes: usize = envelopes.iter().map(|envelope| envelope.body.len()).sum();
    let mut out = Vec::with_capacity(body_bytes + envelopes.len() * HEADER_ROOM + 16);
    out.extend_from_slice(MAGIC);
    out.push(BATCH_VERSION);
    for envelope in envelopes {
        let frame = begin_length(&mut out);
        out.push(ENVELOPE_VERSION);
        let header = begin_length(&mut out);
        // Serialising a struct of strings and numbers to memory cannot fail.
        serde_json::to_writer(&mut out, &header_of(envelope))
            .expect("an envelope header must become JSON");
        end_length(&mut out, header);
        out.extend_from_slice(&envelope.body);
        end_length(&mut out, frame);
    }
    out.into()
}

/// Reserves the four bytes of a length that is known only when its content is written. Returns
/// where the content begins.
fn begin_length(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[0; 4]);
    out.len()
}

/// Writes the length of the content that begins at `start` into the four bytes before it.
fn end_length(out: &mut [u8], start: usize) {
    // Ingest limits the size of bodies to far less than 4 GiB, so the length fits 32 bits.
    let length = (out.len() - start) as u32;
    out[start - 4..start].copy_from_slice(&length.to_be_bytes());
}

fn header_of(envelope: &Envelope) -> HeaderToWrite<'_> {
    HeaderToWrite {
        receipt: envelope.receipt,
        source: &envelope.source,
        topic: &envelope.topic,
        event: WireId {
            event: envelope.event,
            tail: envelope.id_tail,
        },
        digest: envelope.digest,
        received_at: envelope.received_at,
        key_id: &envelope.key_id,
        instance: envelope.instance,
        number: envelope.number,
        seal: envelope.seal.as_deref(),
        traceparent: envelope.traceparent.as_deref(),
        redo: envelope.redo,
    }
}

/// Joins batches into one batch, in their order. The envelopes are copied byte for byte, so header
/// members that only a newer build knows are kept. Returns `None` when one of the inputs is not a
/// batch of the version that this build writes, or contains a frame that cannot be decoded.
pub fn join_batches<'a>(batches: impl IntoIterator<Item = &'a Bytes>) -> Option<Bytes> {
    let mut out = BytesMut::new();
    out.put_slice(MAGIC);
    out.put_u8(BATCH_VERSION);
    for batch in batches {
        let is_whole = decode_batch(batch).ok()?.iter().all(Result::is_ok);
        if !is_whole || batch[MAGIC.len()] != BATCH_VERSION {
            return None;
        }
        out.put_slice(&batch[MAGIC.len() + 1..]);
    }
    Some(out.freeze())
}

/// Decodes a batch of any known version. A frame that cannot be decoded becomes a [`BadFrame`], and
/// does not affect the other frames. Returns an error only when the message is not a batch.
pub fn decode_batch(bytes: &Bytes) -> Result<Vec<Frame>, BadBatch> {
    if bytes.len() < MAGIC.len() + 1 || &bytes[..MAGIC.len()] != MAGIC {
        return Err(BadBatch(WireError::NotABatch));
    }
    match bytes[MAGIC.len()] {
        BATCH_VERSION => Ok(decode_frames(bytes.slice(MAGIC.len() + 1..))),
        other => Err(BadBatch(WireError::UnknownVersion(other))),
    }
}

fn decode_frames(mut rest: Bytes) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !rest.is_empty() {
        match split_length(&rest) {
            Some(length) if rest.len() - 4 >= length => {
                let frame = rest.slice(4..4 + length);
                rest = rest.slice(4 + length..);
                frames.push(decode_envelope(&frame).map_err(|error| BadFrame {
                    bytes: frame,
                    error,
                }));
            }
            Some(_) | None => {
                frames.push(Err(BadFrame {
                    bytes: rest,
                    error: WireError::Truncated,
                }));
                break;
            }
        }
    }
    frames
}

fn split_length(bytes: &[u8]) -> Option<usize> {
    let (length, _) = bytes.split_first_chunk::<4>()?;
    Some(u32::from_be_bytes(*length) as usize)
}

fn decode_envelope(frame: &Bytes) -> Result<Envelope, WireError> {
    let version = *frame.first().ok_or(WireError::Truncated)?;
    if version != ENVELOPE_VERSION {
        return Err(WireError::UnknownVersion(version));
    }
    let header_length = split_length(&frame[1..]).ok_or(WireError::Truncated)?;
    if frame.len() - 5 < header_length {
        return Err(WireError::Truncated);
    }
    let header: Header = serde_json::from_slice(&frame[5..5 + header_length]).map_err(|error| {
        WireError::BadHeader {
            column: error.column(),
        }
    })?;
    Ok(Envelope {
        receipt: header.receipt,
        source: header.source,
        topic: header.topic,
        event: header.event.event,
        id_tail: header.event.tail,
        digest: header.digest,
        received_at: header.received_at,
        key_id: header.key_id,
        instance: header.instance,
        number: header.number,
        seal: header.seal,
        traceparent: header.traceparent,
        redo: header.redo,
        body: frame.slice(5 + header_length..),
    })
}

#[cfg(test)]
mod tests;
