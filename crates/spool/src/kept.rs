//! A spooled message that is in flight, and the code that joins several such messages into one
//! message for the broker.

use std::collections::VecDeque;

use bytes::Bytes;
use hookbox_driver::{Batch, Delivery};
use hookbox_event::{Envelope, ReceiptId, Topic, decode_batch, join_batches};

/// The most envelopes in one joined message: as many as the default size of a batch that ingest
/// publishes directly.
const JOINED_MAX: usize = 64;

/// The most bytes in one joined message. A spooled message that is larger is forwarded by itself.
const JOINED_BYTES_MAX: usize = 256 * 1024;

/// A spooled message of a route.
pub(super) struct SpooledMessage {
    pub delivery: Delivery,
    pub batch: Batch,
    /// Whether the bytes are a complete batch in the format of this build.
    is_whole: bool,
}

impl SpooledMessage {
    /// Decodes the batch. Bytes that are not a batch are forwarded unchanged, and the worker stores
    /// them as a dead letter, as it does with all bytes that it cannot decode.
    pub fn of(delivery: Delivery) -> Self {
        let frames = decode_batch(&delivery.bytes).unwrap_or_default();
        let envelopes: Vec<&Envelope> = frames.iter().flatten().collect();
        let first = envelopes.first();
        let batch = Batch {
            topic: first.map_or_else(Topic::unreadable, |first| first.topic.clone()),
            count: envelopes.len(),
            first_receipt: first.map_or(ReceiptId::from_bytes([0; 16]), |first| first.receipt),
            bytes: delivery.bytes.clone(),
        };
        let is_whole = !envelopes.is_empty() && envelopes.len() == frames.len();
        Self {
            delivery,
            batch,
            is_whole,
        }
    }
}

/// Returns how many messages, counted from the first, can be joined into one; at least 1.
pub(super) fn joinable(messages: &VecDeque<SpooledMessage>) -> usize {
    let (mut envelopes, mut bytes) = (0, 0);
    let fits = |kept: &&SpooledMessage| {
        envelopes += kept.batch.count;
        bytes += kept.batch.bytes.len();
        kept.is_whole && envelopes <= JOINED_MAX && bytes <= JOINED_BYTES_MAX
    };
    messages.iter().take_while(fits).count().max(1)
}

/// Joins the first `count` messages in their order; `None` when they cannot be joined. The result
/// has the topic of the first message, even if the other messages have other topics, because the
/// topic of a message is only shown to operators.
pub(super) fn join(messages: &VecDeque<SpooledMessage>, count: usize) -> Option<Batch> {
    let first = &messages.front()?.batch;
    if count == 1 {
        return Some(first.clone());
    }
    let taken = || messages.iter().take(count).map(|kept| &kept.batch);
    let bytes: Bytes = join_batches(taken().map(|batch| &batch.bytes))?;
    Some(Batch {
        count: taken().map(|batch| batch.count).sum(),
        bytes,
        ..first.clone()
    })
}
