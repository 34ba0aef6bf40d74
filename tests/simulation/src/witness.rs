//! Witnesses: what the store has committed and what the broker holds of it. No store of a run is
//! ever restored and no broker replaced, so the two never contradict each other.
//!
//! It draws nothing by chance: which publishes lose their confirm is counted, so that a run stays
//! the run of its seed.

use hookbox_driver::{Mismatch, NextWitness, WITNESS_INGESTS_MAX, WITNESSES_KEPT, WitnessPosition};
use hookbox_event::{Incarnation, ReportedUpTo, RouteName, Timestamp, Witness};

use crate::accounts::Accounts;

/// Each publish of so many is stored, and its confirm is lost.
const CONFIRMS_LOST: u64 = 5;

/// Both sides.
#[derive(Default)]
pub(crate) struct Witnesses {
    newest: Option<Witness>,
    confirmed: u64,
    held: Vec<Witness>,
    published: u64,
}

impl Witnesses {
    /// The store's side: what to publish next, or what must never be.
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

    /// The store's side.
    pub fn confirm(&mut self, sequence: u64) {
        self.confirmed = self.confirmed.max(sequence);
    }

    /// The broker's side: whether it reports this one as stored.
    pub fn publish(&mut self, witness: &Witness) -> bool {
        self.held.push(witness.clone());
        let kept = WITNESSES_KEPT as usize;
        let over = self.held.len().saturating_sub(kept);
        self.held.drain(..over);
        self.published += 1;
        !self.published.is_multiple_of(CONFIRMS_LOST)
    }

    /// The broker's side.
    pub fn held(&self) -> Vec<Witness> {
        self.held.clone()
    }

    /// What does not hold at the end: the broker holds nothing that the store has not committed,
    /// and has not lost what it confirmed.
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
