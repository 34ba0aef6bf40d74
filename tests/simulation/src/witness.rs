//! Witnesses: the copies of the store's position that the broker holds. In a run the store is never
//! restored and the broker never replaced, so the two must never contradict each other.
//!
//! Nothing in this file is random: every fifth publish loses its confirm. The random numbers of a
//! run are therefore the same with and without witnesses.

use hookbox_driver::{Mismatch, NextWitness, WITNESS_INGESTS_MAX, WITNESSES_KEPT, WitnessPosition};
use hookbox_event::{Incarnation, ReportedUpTo, RouteName, Timestamp, Witness};

use crate::accounts::Accounts;

/// Of every this many publishes, the last is stored and its confirm is lost.
const CONFIRMS_LOST: u64 = 5;

/// The witnesses as the store and as the broker know them.
#[derive(Default)]
pub(crate) struct Witnesses {
    newest: Option<Witness>,
    confirmed: u64,
    held: Vec<Witness>,
    published: u64,
}

impl Witnesses {
    /// Returns, as the store, what to publish next. An error describes a contradiction between
    /// store and broker, which must never exist in a run.
    pub fn take(
        &mut self,
        found: &[Witness],
        routes: &[RouteName],
        now: Timestamp,
        accounts: &Accounts,
    ) -> Result<NextWitness, String> {
        let next = self.position(accounts).take(found, now, routes);
        match &next {
            // Another worker may have published and had it confirmed since the broker was read.
            NextWitness::Unchanged | NextWitness::Mismatch(Mismatch::BrokerBehind(_)) => {}
            NextWitness::Mismatch(mismatch) => return Err(mismatch.describe()),
            NextWitness::Publish(witness) => self.newest = Some(witness.clone()),
        }
        Ok(next)
    }

    /// Records, as the store, that the broker confirmed a witness.
    pub fn confirm(&mut self, sequence: u64) {
        self.confirmed = self.confirmed.max(sequence);
    }

    /// Stores a witness, as the broker, and returns whether the broker confirms it.
    pub fn publish(&mut self, witness: &Witness) -> bool {
        self.held.push(witness.clone());
        let kept = WITNESSES_KEPT as usize;
        let over = self.held.len().saturating_sub(kept);
        self.held.drain(..over);
        self.published += 1;
        !self.published.is_multiple_of(CONFIRMS_LOST)
    }

    /// Returns the witnesses that the broker holds.
    pub fn held(&self) -> Vec<Witness> {
        self.held.clone()
    }

    /// Returns a violation when, at the end of the run, the broker holds a witness that the store
    /// has not committed, or has lost one that it confirmed.
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
