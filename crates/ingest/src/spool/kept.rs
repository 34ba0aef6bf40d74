//! A message of the spool in hand, and several of them as one for the broker.

use std::collections::VecDeque;

use bytes::Bytes;
use hookbox_driver::{Batch, Delivery};
use hookbox_event::{Envelope, ReceiptId, Topic, decode_batch, join_batches};

/// Envelopes of one message for the broker: as many as a batch has that never was in a spool.
const JOINED_MAX: usize = 64;

/// Bytes of such a message. One that is larger by itself travels alone.
const JOINED_BYTES_MAX: usize = 256 * 1024;

/// A message of a route.
pub(super) struct Kept {
    pub delivery: Delivery,
    pub batch: Batch,
    /// It is a batch as this build writes it, to its last byte.
    is_whole: bool,
}

impl Kept {
    /// Reads the batch that was kept. Bytes that are none go as they are: the worker keeps them
    /// as a dead letter, as it does with whatever it cannot read.
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

/// How many from the front make one message. There is one at least.
pub(super) fn together(hand: &VecDeque<Kept>) -> usize {
    let (mut envelopes, mut bytes) = (0, 0);
    let fits = |kept: &&Kept| {
        envelopes += kept.batch.count;
        bytes += kept.batch.bytes.len();
        kept.is_whole && envelopes <= JOINED_MAX && bytes <= JOINED_BYTES_MAX
    };
    hand.iter().take_while(fits).count().max(1)
}

/// The first `count` as one message, in their order; `None` when they cannot be joined. Its topic
/// is that of the first: nothing but an operator reads it.
pub(super) fn join(hand: &VecDeque<Kept>, count: usize) -> Option<Batch> {
    let first = &hand.front()?.batch;
    if count == 1 {
        return Some(first.clone());
    }
    let taken = || hand.iter().take(count).map(|kept| &kept.batch);
    let bytes: Bytes = join_batches(taken().map(|batch| &batch.bytes))?;
    Some(Batch {
        count: taken().map(|batch| batch.count).sum(),
        bytes,
        ..first.clone()
    })
}
