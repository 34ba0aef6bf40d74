//! The witness messages, which the broker keeps. Each has a copy of the store's position, by which
//! hookbox detects that a store or a broker was restored from a backup. In a simulated run neither
//! is ever restored or replaced, so store and broker must never contradict each other.
//!
//! Nothing in this file is random: for example, exactly every fifth publish of a witness message
//! loses its confirm. So a run draws the same random numbers with and without witness messages.

use hookbox_driver::{Mismatch, NextWitness, WITNESS_INGESTS_MAX, WITNESSES_KEPT, WitnessPosition};
use hookbox_event::{Incarnation, ReportedUpTo, RouteName, Timestamp, Witness};

use crate::accounts::Accounts;

/// One in this many publishes of a witness message loses its confirm, although the broker stores
/// the message.
const CONFIRMS_LOST: u64 = 5;

/// The witness messages as the store knows them and as the broker keeps them.
#[derive(Default)]
pub(crate) struct Witnesses {
    newest: Option<Witness>,
    confirmed: u64,
    held: Vec<Witness>,
    published: u64,
}

impl Witnesses {
    /// Does what the store does, and returns the next witness message to publish. Returns an error
    /// if store and broker contradict each other, which must never happen in a run.
    pub fn take(
        &mut self,
        found: &[Witness],
        routes: &[RouteName],
        now: Timestamp,
        accounts: &Accounts,
    ) -> Result<NextWitness, String> {
        let next = self.position(accounts).take(found, now, routes);
        match &next {
            // `BrokerBehind` can be a race instead of a violation. After this worker read the
            // broker, another worker may have published a newer witness message and recorded its
            // confirm.
            NextWitness::Unchanged | NextWitness::Mismatch(Mismatch::BrokerBehind(_)) => {}
            NextWitness::Mismatch(mismatch) => return Err(mismatch.describe()),
            NextWitness::Publish(witness) => self.newest = Some(witness.clone()),
        }
        Ok(next)
    }

    /// Does what the store does when the broker has confirmed a witness message: records the
    /// number.
    pub fn confirm(&mut self, sequence: u64) {
        self.confirmed = self.confirmed.max(sequence);
    }

    /// Does what the broker does: stores a witness message. Returns whether its confirm arrives.
    pub fn publish(&mut self, witness: &Witness) -> bool {
        self.held.push(witness.clone());
        let kept = WITNESSES_KEPT as usize;
        let over = self.held.len().saturating_sub(kept);
        self.held.drain(..over);
        self.published += 1;
        !self.published.is_multiple_of(CONFIRMS_LOST)
    }

    /// Returns the witness messages that the broker keeps.
    pub fn held(&self) -> Vec<Witness> {
        self.held.clone()
    }

    /// Checks the witness messages at the end of a run, and returns a violation if there is one.
    /// The store must have committed each message of the broker. The broker must still have each
    /// message that it confirmed, unless a newer one has replaced it.
    pub fn check(&self, accounts: &Accounts) -> Option<String> {
        let mismatch = self
            .position(accounts)
            .compare(self.confirmed, &self.held)?;
        Some(format!("I2: {}", mismatch.describe()))
    }

    fn position(&self, accounts: &Accounts) -> WitnessPosition {
        let mut ingests: Vec<ReportedUpTo> = accounts.reported();
        ingests.truncate(WITNESS_INGESTS_MAX as usize);
        WitnessPosition {
            incarnation: Incarnation::from_bytes([1; 16]),
            since: Timestamp::from_unix_micros(0),
            newest: self.newest.clone(),
            confirmed: self.confirmed,
            receipts: accounts.receipts(),
            ingests,
        }
    }
}
