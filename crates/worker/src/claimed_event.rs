//! What the claims of a transaction found, sorted by what is to be done.

use hookbox_driver::Claimed;
use hookbox_event::{ContentDigest, Envelope, EventId};

use crate::claims::Claim;

/// One event that is this transaction's to work on.
#[derive(Clone)]
pub(crate) struct ClaimedEvent {
    /// The envelope, under the event id that was claimed.
    pub envelope: Envelope,
    pub attempt: u32,
    pub attempts_before: u32,
    /// The event whose id another body came under, where that makes this an event of its own.
    pub conflict_with: Option<EventId>,
    /// What the receipt's own body says, where its event has another body.
    pub other_digest: Option<ContentDigest>,
    /// An earlier run has ended its own transaction.
    pub is_orphaned: bool,
}

/// All of a transaction.
#[derive(Default)]
pub(crate) struct ClaimSet {
    pub events: Vec<ClaimedEvent>,
    pub duplicates: Vec<(Envelope, Option<ContentDigest>)>,
    pub redelivered: u64,
}

impl ClaimedEvent {
    /// Which attempt of the present round this is, from 1.
    pub fn attempt_of_round(&self) -> u32 {
        self.attempt.saturating_sub(self.attempts_before)
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
            // A conflict's own id contains its digest, so a second conflict there says the same.
            Claimed::Duplicate | Claimed::Conflict => {
                self.duplicates.push((envelope, other_digest));
            }
        }
    }
}
