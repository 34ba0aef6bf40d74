//! The wire format: one broker message is a batch of envelopes, each of which can be decoded or
//! skipped by itself. Every version ever written is kept as a golden file in `schemas/wire/`.
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

/// The version of the batch framing that this build writes.
pub const BATCH_VERSION: u8 = 1;

/// The version of the envelope that this build writes.
pub const ENVELOPE_VERSION: u8 = 1;

/// One member of a batch: an envelope, or bytes that are none.
pub type Frame = Result<Envelope, BadFrame>;

/// Bytes that are not an envelope this build can decode. They are stored, never dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadFrame {
    /// The bytes of the frame, unchanged.
    pub bytes: Bytes,
    /// The error.
    pub error: WireError,
}

/// A message that is not a batch this build can decode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message is not a batch of envelopes")]
pub struct BadBatch(#[source] pub WireError);

/// What is wrong with bytes that should have been a batch or an envelope. Safe to log: it never
/// quotes them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// They do not start as every batch does.
    #[error("it does not start with the mark of a hookbox batch")]
    NotABatch,
    /// They were written by a newer build.
    #[error("it is of version {0}, which this build does not know; upgrade hookbox")]
    UnknownVersion(u8),
    /// They end too early.
    #[error("it ends in the middle")]
    Truncated,
    /// The header does not match its version.
    #[error("its header cannot be read (at column {column})")]
    BadHeader {
        /// The place in the header.
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

/// Encodes a batch in the newest version.
pub fn encode_batch(envelopes: &[Envelope]) -> Bytes {
    let body_bytes: usize = envelopes.iter().map(|envelope| envelope.body.len()).sum();
    let mut out = BytesMut::with_capacity(body_bytes + envelopes.len() * 512 + 16);
    out.put_slice(MAGIC);
    out.put_u8(BATCH_VERSION);
    for envelope in envelopes {
        let header = encode_header(envelope);
        // Bodies are limited far below 4 GiB where they are accepted, so the length fits.
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
    // A struct of strings and numbers can always be serialised.
    serde_json::to_vec(&header).expect("a header is plain data")
}

/// Joins batches into one, byte for byte and in their order: members of a header that only a newer
/// build knows are kept. `None` when one of them is not a batch as this build writes it.
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

/// Decodes a batch of any known version. A frame that cannot be decoded does not affect the others;
/// only a message that is no batch at all fails as a whole.
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
