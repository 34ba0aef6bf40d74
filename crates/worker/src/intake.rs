//! Messages of the broker that are in flight, decoded into envelopes. Bytes that are not an
//! envelope are kept in a separate list.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use hookbox_driver::{Delivery, Start};
use hookbox_event::{Envelope, decode_batch};

/// The most envelopes that share a transaction when several small messages are taken at once. It
/// equals one full batch, so that such a transaction is no longer than that of a batch.
pub(crate) const SHARED_MAX: usize = 64;

/// Messages that are processed and settled together.
#[derive(Default)]
pub(crate) struct Intake {
    pub deliveries: Vec<Delivery>,
    pub contents: Contents,
}

/// The decoded contents of the messages: envelopes, and bytes that are not envelopes.
#[derive(Default)]
pub(crate) struct Contents {
    pub envelopes: Vec<Envelope>,
    /// The start markers (rows that count handler starts) that belong to the redelivered
    /// envelopes. If an event was in flight when a process died, its message is redelivered, so
    /// its start marker is in this set.
    pub redelivered: HashSet<Start>,
    pub undecodable: Vec<Undecodable>,
}

/// Bytes from the queue that are not an envelope.
pub(crate) struct Undecodable {
    pub bytes: Bytes,
    /// Why the bytes cannot be decoded. It is safe to show, because it never quotes the bytes.
    pub why: String,
}

impl Intake {
    /// Decodes one message and adds it. An envelope that cannot be decoded does not affect the
    /// others.
    pub fn add(&mut self, delivery: Delivery) {
        match decode_batch(&delivery.bytes) {
            Ok(frames) => {
                for frame in frames {
                    match frame {
                        Ok(envelope) => {
                            if delivery.redelivered {
                                self.contents.redelivered.insert(Start::of(&envelope));
                            }
                            self.contents.envelopes.push(envelope);
                        }
                        Err(bad) => self.contents.undecodable.push(Undecodable {
                            bytes: bad.bytes,
                            why: bad.error.to_string(),
                        }),
                    }
                }
            }
            Err(bad) => self.contents.undecodable.push(Undecodable {
                bytes: delivery.bytes.clone(),
                why: hookbox_driver::describe(&bad),
            }),
        }
        self.deliveries.push(delivery);
    }

    /// Returns whether further messages must wait for the next transaction.
    pub fn is_full(&self) -> bool {
        self.contents.envelopes.len() >= SHARED_MAX
    }
}

impl Contents {
    /// Divides the envelopes into groups for one transaction each. A group contains each event at
    /// most once and is no longer than a batch. The receipts of an event keep their order.
    pub fn rounds(&self) -> Vec<Vec<&Envelope>> {
        let mut rounds: Vec<Vec<&Envelope>> = Vec::new();
        let mut seen = HashMap::new();
        for envelope in &self.envelopes {
            let occurrence: &mut usize = seen.entry(envelope.event).or_default();
            let mut round = *occurrence;
            while rounds
                .get(round)
                .is_some_and(|round| round.len() >= SHARED_MAX)
            {
                round += 1;
            }
            *occurrence = round + 1;
            if rounds.len() <= round {
                rounds.resize_with(round + 1, Vec::new);
            }
            rounds[round].push(envelope);
        }
        rounds
    }
}
