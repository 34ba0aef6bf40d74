//! What is in flight: messages of the broker, read into envelopes and into bytes that are none.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use hookbox_driver::{Delivery, Start};
use hookbox_event::{Envelope, decode_batch};

/// Most envelopes that share a transaction when several small messages are taken together. The
/// same number as one full batch, so that a transaction is never longer than a batch makes it.
pub(crate) const SHARED_MAX: usize = 64;

/// Messages that are worked on together, and settled together.
#[derive(Default)]
pub(crate) struct Intake {
    pub deliveries: Vec<Delivery>,
    pub contents: Contents,
}

/// What was in the messages.
#[derive(Default)]
pub(crate) struct Contents {
    pub envelopes: Vec<Envelope>,
    /// What messages ask for that are redelivered: what was in flight when a process died is among
    /// it.
    pub redelivered: HashSet<Start>,
    pub undecodable: Vec<Undecodable>,
}

/// Bytes that are not an envelope.
pub(crate) struct Undecodable {
    pub bytes: Bytes,
    /// Safe to show: it never quotes the bytes.
    pub why: String,
}

impl Intake {
    /// Adds one message. One bad envelope harms no other.
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

    /// Whether another message should wait for the next transaction.
    pub fn is_full(&self) -> bool {
        self.contents.envelopes.len() >= SHARED_MAX
    }
}

impl Contents {
    /// The envelopes in rounds: no event stands twice in a round, none of which is longer than
    /// a batch. Each round is one transaction; the order of a single event's receipts is kept.
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
