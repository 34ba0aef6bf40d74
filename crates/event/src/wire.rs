//! The wire format of broker messages. A message is a batch of envelopes, and each envelope can be
//! decoded or skipped independently of the others. Every version ever written is kept as a golden
//! file in `schemas/wire/`.
//!
//! ```text
//! batch    = "HKBX" version:u8 frame*
//! frame    = length:u32be envelope
//! envelope = version:u8 header_length:u32be header body
//! header   = a JSON object; readers ignore members they do not know
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::{
    ContentDigest, Envelope, EventId, InstanceId, ReceiptId, Redo, SourceName, Timestamp, Topic,
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
    #[error("it does not start with the mark of a hookbox batch")]
    NotABatch,
    /// The bytes have a version that this build does not know, because a newer build wrote them.
    #[error("it is of version {0}, which this build does not know; upgrade hookbox")]
    UnknownVersion(u8),
    /// The bytes end before the end that their lengths state.
    #[error("it ends in the middle")]
    Truncated,
    /// The header is not valid for the version that the bytes state.
    #[error("its header cannot be read (at column {column})")]
    BadHeader {
        /// The column in the JSON text of the header at which decoding failed.
        column: usize,
    },
}

#[derive(Serialize, Deserialize)]
struct Header {
    receipt: ReceiptId,
    source: SourceName,
    topic: Topic,
    event: EventId,
    digest: ContentDigest,
    received_at: Timestamp,
    key_id: String,
    instance: InstanceId,
    number: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redo: Option<Redo>,
}

/// Encodes envelopes as one batch of the newest version.
pub fn encode_batch(envelopes: &[Envelope]) -> Bytes {
    let body_bytes: usize = envelopes.iter().map(|envelope| envelope.body.len()).sum();
    let mut out = BytesMut::with_capacity(body_bytes + envelopes.len() * 512 + 16);
    out.put_slice(MAGIC);
    out.put_u8(BATCH_VERSION);
    for envelope in envelopes {
        let header = encode_header(envelope);
        // Ingest limits the size of bodies to far less than 4 GiB, so the length fits 32 bits.
        out.put_u32((1 + 4 + header.len() + envelope.body.len()) as u32);
        out.put_u8(ENVELOPE_VERSION);
        out.put_u32(header.len() as u32);
        out.put_slice(&header);
        out.put_slice(&envelope.body);
    }
    out.freeze()
}

fn encode_header(envelope: &Envelope) -> Vec<u8> {
    let header = Header {
        receipt: envelope.receipt,
        source: envelope.source.clone(),
        topic: envelope.topic.clone(),
        event: envelope.event,
        digest: envelope.digest,
        received_at: envelope.received_at,
        key_id: envelope.key_id.clone(),
        instance: envelope.instance,
        number: envelope.number,
        seal: envelope.seal.clone(),
        traceparent: envelope.traceparent.clone(),
        redo: envelope.redo,
    };
    // Serialising a struct of strings and numbers cannot fail.
    serde_json::to_vec(&header).expect("serialising strings and numbers cannot fail")
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
        event: header.event,
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
