//! The witness messages, which the broker keeps. Each has a copy of the store's position, so that
//! hookbox detects that a store or broker was restored from a backup. In a run the store is never
//! restored and the broker never replaced, so the two must never contradict each other.
//!
//! Nothing in this file is random: every fifth publish of a witness message loses its confirm. The
//! random numbers of a run are therefore the same with and without witness messages.

use hookbox_driver::{Mismatch, NextWitness, WITNESS_INGESTS_MAX, WITNESSES_KEPT, WitnessPosition};
use hookbox_event::{Incarnation, ReportedUpTo, RouteName, Timestamp, Witness};

use crate::accounts::Accounts;

/// The confirm of every fifth publish is lost, although the message is stored.
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
    /// Acts as the store, and returns what to publish next. An error describes a contradiction
    /// between store and broker, which must never exist in a run.
    pub fn take(
        &mut self,
        found: &[Witness],
        routes: &[RouteName],
        now: Timestamp,
        accounts: &Accounts,
    ) -> Result<NextWitness, String> {
        let next = self.position(accounts).take(found, now, routes);
        match &next {
            // A newer witness message, of another worker, may have been confirmed since this worker
            // read the broker.
            NextWitness::Unchanged | NextWitness::Mismatch(Mismatch::BrokerBehind(_)) => {}
            NextWitness::Mismatch(mismatch) => return Err(mismatch.describe()),
            NextWitness::Publish(witness) => self.newest = Some(witness.clone()),
        }
        Ok(next)
    }

    /// Acts as the store, and records that the broker confirmed a witness message.
    pub fn confirm(&mut self, sequence: u64) {
        self.confirmed = self.confirmed.max(sequence);
    }

    /// Acts as the broker: stores a witness message, and returns whether its confirm arrives.
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

    /// Returns a violation when, at the end of the run, the broker has a witness message that the
    /// store has not committed, or has lost one that it confirmed.
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
