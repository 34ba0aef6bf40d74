//! The envelope: one receipt with its body, as it travels from ingest to worker.

use bytes::Bytes;

use crate::{ContentDigest, EventId, InstanceId, ReceiptId, SourceName, Timestamp, Topic};

/// An accepted request on its way from ingest to worker. `body` holds exactly the received bytes.
///
/// The `Debug` output contains the topic, ids and the length of the body, and not the body itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The receipt of the accepted request.
    pub receipt: ReceiptId,
    /// The source that the request was posted to.
    pub source: SourceName,
    /// The topic of the event.
    pub topic: Topic,
    /// The id of the event that the request reports.
    pub event: EventId,
    /// The last 16 bytes of the [`crate::IdDigest`] whose first 16 bytes are `event`; `None` when
    /// they are unknown. They are kept only for workers of the previous version, in which the whole
    /// digest is the event id.
    pub id_tail: Option<[u8; 16]>,
    /// The content digest of the body. It shows whether another receipt of the same event is a
    /// duplicate or a conflict.
    pub digest: ContentDigest,
    /// When the ingest had read the whole request, by the clock of the ingest.
    pub received_at: Timestamp,
    /// The id of the secret that verified the signature.
    pub key_id: String,
    /// The ingest process that accepted the request.
    pub instance: InstanceId,
    /// The sequence number that the ingest process gave to the envelope.
    pub number: u64,
    /// Reserved for the id of the key with which a body is sealed (encrypted). Nothing seals a body
    /// yet.
    pub seal: Option<String>,
    /// The W3C trace context of the request; `None` when it had none or an invalid one.
    pub traceparent: Option<String>,
    /// The attempt that this envelope requests, if it is a retry or replay; `None` for the first
    /// message of a receipt.
    pub redo: Option<Redo>,
    /// The body, exactly as received.
    pub body: Bytes,
}

/// The attempt that a retry or replay requests. The store grants each attempt number to one
/// delivery only, so a retry that was published twice runs once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Redo {
    /// The number of the attempt to run, counted from 1 over all attempts of the event on its
    /// route.
    pub attempt: u32,
}

impl std::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Envelope")
            .field("receipt", &self.receipt)
            .field("topic", &self.topic)
            .field("event", &self.event)
            .field("redo", &self.redo)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}
