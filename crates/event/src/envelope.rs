//! The envelope: one receipt with its body, as it travels from ingest to worker.

use bytes::Bytes;

use crate::{ContentDigest, EventId, InstanceId, ReceiptId, SourceName, Timestamp, Topic};

/// One accepted request as it travels. `body` is exactly what was received.
///
/// `Debug` shows neither the body nor anything read from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The accepted request.
    pub receipt: ReceiptId,
    /// The endpoint it was posted to.
    pub source: SourceName,
    /// The topic of the event.
    pub topic: Topic,
    /// The event of the request.
    pub event: EventId,
    /// The content digest of the body, which distinguishes a conflict from a duplicate.
    pub digest: ContentDigest,
    /// When ingest had read the whole request, by its clock.
    pub received_at: Timestamp,
    /// The id of the secret that verified the signature.
    pub key_id: String,
    /// The ingest process that accepted it.
    pub instance: InstanceId,
    /// Its sequence number in that process.
    pub number: u64,
    /// Reserved for the id of a key that the body is sealed with: nothing seals a body yet.
    pub seal: Option<String>,
    /// The W3C trace context of the request, when it had a valid one.
    pub traceparent: Option<String>,
    /// Set when this is not the first delivery to its route but a retry or replay of it.
    pub redo: Option<Redo>,
    /// The body.
    pub body: Bytes,
}

/// Which run of the handler a retry or replay requests. It is the fence that makes a retry that was
/// published twice run once: the store grants an attempt number to one delivery only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Redo {
    /// The attempt to run, counted from 1 over the whole life of the event on its route.
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
