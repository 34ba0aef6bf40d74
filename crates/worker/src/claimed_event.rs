//! The claims of one transaction, sorted by what must be done with each.

use hookbox_driver::Claimed;
use hookbox_event::{ContentDigest, Envelope, EventId};

use crate::claims::Claim;

/// One event that this transaction has claimed and must bring to an outcome.
#[derive(Clone)]
pub(crate) struct ClaimedEvent {
    /// The envelope, with the event id that was claimed.
    pub envelope: Envelope,
    pub attempt: u32,
    pub attempts_before: u32,
    /// The id of the event that this event conflicts with: an event with that id was stored
    /// before, with another body. Set only if this conflict is processed as an event of its own.
    pub conflict_with: Option<EventId>,
    /// The content digest of the receipt's own body, if the event was stored with another body.
    pub other_digest: Option<ContentDigest>,
    /// Whether an earlier run of the handler ended its own transaction.
    pub is_orphaned: bool,
}

/// All claims of one transaction.
#[derive(Default)]
pub(crate) struct ClaimSet {
    pub events: Vec<ClaimedEvent>,
    pub duplicates: Vec<(Envelope, Option<ContentDigest>)>,
    pub redelivered: u64,
}

impl ClaimedEvent {
    /// Returns which attempt of the current round this is, counting from 1.
    pub fn attempt_of_round(&self) -> u32 {
        self.attempt.saturating_sub(self.attempts_before)
    }

    /// Returns the number of the current round: the number of the first attempt in it.
    pub fn round(&self) -> u32 {
        self.attempts_before.saturating_add(1)
    }
}

impl ClaimSet {
    pub fn add(&mut self, claim: Claim) {
        let Claim {
            envelope,
            claimed,
            conflict_with,
            other_digest,
        } = claim;
        let event = |envelope, attempt, attempts_before, is_orphaned| ClaimedEvent {
            envelope,
            attempt,
            attempts_before,
            conflict_with,
            other_digest,
            is_orphaned,
        };
        match claimed {
            Claimed::Fresh => self.events.push(event(envelope, 1, 0, false)),
            Claimed::Granted {
                attempt,
                attempts_before,
            } => {
                let granted = event(envelope, attempt, attempts_before, false);
                self.events.push(granted);
            }
            Claimed::Orphaned => self.events.push(event(envelope, 1, 0, true)),
            Claimed::Redelivered => self.redelivered += 1,
            // `Conflict` is not expected here, because every conflict was claimed a second time:
            // under an id that contains the digest of its body, or with the stored body. If it
            // occurs nevertheless, the receipt counts as a duplicate.
            Claimed::Duplicate | Claimed::Conflict => {
                self.duplicates.push((envelope, other_digest));
            }
        }
    }
}

/// Returns the first claim of an event, for tests.
#[cfg(test)]
pub(crate) fn sample(number: u8) -> ClaimedEvent {
    ClaimedEvent {
        envelope: Envelope {
            receipt: hookbox_event::ReceiptId::from_bytes([number; 16]),
            source: "begini".parse().expect("the name must be valid"),
            topic: "begini.score".parse().expect("the topic must be valid"),
            event: EventId::from_bytes([number; 16]),
            id_tail: None,
            digest: ContentDigest::of_raw_body(&hookbox_event::Digester::Plain, b"{}"),
            received_at: hookbox_event::Timestamp::from_unix_micros(0),
            key_id: "one".to_owned(),
            instance: hookbox_event::InstanceId::from_bytes([1; 16]),
            number: 1,
            seal: None,
            traceparent: None,
            redo: None,
            body: b"{}"[..].into(),
        },
        attempt: 1,
        attempts_before: 0,
        conflict_with: None,
        other_digest: None,
        is_orphaned: false,
    }
}
