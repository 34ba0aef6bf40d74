//! A store in memory. It keeps what is committed, and fails when the test says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{
    CallEnd, CallRecorded, Claimed, CommitError, CountedStart, Deferral, Deferred, DueRetry,
    Failure, Fault, FaultKind, LeaseTerms, LeaseWish, Leased, NextWitness, NoPermit, Outcome,
    ReceiptOutcome, Recorded, Republish, Requeued, RouteControls, Start, StartCounts, StartKind,
    Store, StoredEvent, TargetName, UndecodableMessage, VersionStanding, VersionedEvent,
};
use hookbox_event::{
    Account, Envelope, EventId, EventNumber, InstanceId, KeyDigest, RouteName, Witness,
};

use crate::journal::Journal;
use crate::memory_process::MemoryProcess;

mod enter;
mod lease_rows;
mod rows;
mod transaction;

pub use rows::{On, Rows};
pub use transaction::{MemoryConnection, MemoryTx};

/// The tables, which all processes share.
pub struct Tables {
    state: Mutex<State>,
    pub journal: Arc<Journal>,
}

#[derive(Default)]
pub struct State {
    pub rows: Rows,
    /// What operators have set for routes.
    pub controls: RouteControls,
    pub is_unavailable: bool,
    /// The faults that the next calls of an operation return, in order.
    pub faults: BTreeMap<&'static str, VecDeque<FaultKind>>,
    /// The operations that find no free connection, because the process itself uses all of them.
    pub in_use: BTreeSet<&'static str>,
    /// How long the next calls of an operation take, in order. Later ones take no time.
    pub slow: BTreeMap<&'static str, VecDeque<Duration>>,
    /// The most retries that are taken at a time; `None` for as many as the caller wants.
    pub taken_at_once: Option<u32>,
    calls: BTreeMap<&'static str, u64>,
    /// The claims that open transactions hold. Each value is the number of the transaction and the
    /// number of its process.
    locks: BTreeMap<On, (u64, u64)>,
    /// The targets that open transactions hold. The values are of the same form as in `locks`.
    target_locks: BTreeMap<TargetName, (u64, u64)>,
    /// The keys (of `newest`) that open transactions hold. The values are of the same form as in
    /// `locks`.
    key_locks: BTreeMap<(RouteName, KeyDigest), (u64, u64)>,
    transactions: u64,
}

impl Tables {
    pub fn new(journal: &Arc<Journal>) -> Self {
        Self {
            state: Mutex::default(),
            journal: Arc::clone(journal),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Makes the next calls of an operation fail with these faults.
    pub fn fail(&self, operation: &'static str, faults: impl IntoIterator<Item = FaultKind>) {
        let faults = faults.into_iter().collect();
        self.state().faults.insert(operation, faults);
    }

    /// Returns how often an operation was called.
    pub fn calls(&self, operation: &'static str) -> u64 {
        self.state().calls.get(operation).copied().unwrap_or(0)
    }

    pub fn roll_back_all_of(&self, process: u64) {
        let mut state = self.state();
        state.locks.retain(|_, held| held.1 != process);
        state.target_locks.retain(|_, held| held.1 != process);
        state.key_locks.retain(|_, held| held.1 != process);
    }
}

/// An error of the store, as a handler receives it.
#[derive(Debug, thiserror::Error)]
#[error("the store failed")]
pub struct MemoryError(pub FaultKind);

/// The store as one process sees it.
pub struct MemoryStore(pub Arc<MemoryProcess>);

#[async_trait]
impl Store for MemoryStore {
    type Connection = MemoryConnection;
    type Tx = MemoryTx;

    async fn begin(&self) -> Result<MemoryTx, Fault> {
        self.open("begin").await
    }

    async fn begin_for_handler(&self) -> Result<MemoryTx, Fault> {
        self.open("begin for a handler").await
    }

    async fn store_events(&self, envelopes: &[&Envelope]) -> Result<(), Fault> {
        let mut state = self.enter("store_events").await?;
        for envelope in envelopes {
            let event = (*envelope).clone();
            state.rows.events.entry(envelope.event).or_insert(event);
        }
        drop(state);
        let count = envelopes.len();
        self.0.tables.journal.note(format!("store {count} events"));
        Ok(())
    }

    async fn claim(
        &self,
        tx: &mut MemoryTx,
        route: &RouteName,
        envelopes: &[&Envelope],
    ) -> Result<Vec<Claimed>, Fault> {
        drop(self.enter("claim").await?);
        envelopes.iter().map(|it| tx.claim(route, it)).collect()
    }

    async fn stored(
        &self,
        tx: &mut MemoryTx,
        events: &[EventId],
    ) -> Result<Vec<Option<StoredEvent>>, Fault> {
        drop(self.enter("stored").await?);
        Ok(events.iter().map(|event| tx.stored(event)).collect())
    }

    async fn compare_versions(
        &self,
        tx: &mut MemoryTx,
        route: &RouteName,
        events: &[VersionedEvent],
    ) -> Result<Vec<VersionStanding>, Fault> {
        drop(self.enter("compare_versions").await?);
        tx.compare_versions(route, events)
    }

    fn number(&self, tx: &MemoryTx, route: &RouteName, event: &EventId) -> Option<EventNumber> {
        tx.number_of(route, event)
    }

    fn connection<'t>(&self, tx: &'t mut MemoryTx) -> &'t mut MemoryConnection {
        &mut tx.connection
    }

    async fn prove(&self, tx: &mut MemoryTx) -> Result<(), CommitError> {
        drop(self.enter("prove").await?);
        tx.prove()
    }

    async fn savepoint(&self, tx: &mut MemoryTx) -> Result<(), CommitError> {
        drop(self.enter("savepoint").await?);
        tx.prove()?;
        tx.savepoint = tx.connection.effects.len();
        Ok(())
    }

    async fn undo(&self, tx: &mut MemoryTx) -> Result<(), CommitError> {
        drop(self.enter("undo").await?);
        self.0.tables.journal.note("undo");
        tx.undo()
    }

    async fn withdraw(
        &self,
        tx: &mut MemoryTx,
        route: &RouteName,
        events: &[EventId],
    ) -> Result<(), CommitError> {
        drop(self.enter("withdraw").await?);
        tx.prove()?;
        let count = events.len();
        self.0.tables.journal.note(format!("withdraw {count}"));
        tx.withdraw(route, events);
        Ok(())
    }

    async fn settle(
        &self,
        tx: &mut MemoryTx,
        route: &RouteName,
        settled: &[ReceiptOutcome<'_>],
    ) -> Result<(), CommitError> {
        drop(self.enter("settle").await?);
        tx.prove()?;
        for one in settled {
            let outcome: Outcome = one.outcome.clone();
            tx.outcomes
                .push((route.clone(), one.envelope.clone(), outcome));
            let other = one.other_digest.map(|it| (one.envelope.receipt, it));
            tx.other_digests.extend(other);
        }
        Ok(())
    }

    async fn commit(&self, mut tx: MemoryTx) -> Result<(), CommitError> {
        drop(self.enter("commit").await?);
        tx.prove()?;
        let outcomes = tx.commit();
        self.0.tables.journal.note(format!("commit {outcomes}"));
        Ok(())
    }

    async fn rollback(&self, tx: MemoryTx) {
        self.0.step().await;
        self.0.tables.journal.note("rollback");
        drop(tx);
    }

    async fn rollback_failed(&self, tx: MemoryTx) {
        self.0.step().await;
        self.0.tables.journal.note("rollback failed");
        drop(tx);
    }

    async fn fail(&self, failure: &Failure<'_>) -> Result<Recorded, Fault> {
        Ok(self.enter("fail").await?.rows.fail(failure))
    }

    async fn defer(&self, deferral: &Deferral<'_>) -> Result<Deferred, Fault> {
        Ok(self.enter("defer").await?.rows.defer(deferral))
    }

    async fn lease(
        &self,
        tx: &mut MemoryTx,
        route: &RouteName,
        terms: LeaseTerms<'_>,
        wishes: &[LeaseWish<'_>],
    ) -> Result<Vec<Leased>, CommitError> {
        drop(self.enter("lease").await?);
        Ok(tx.lease(route, terms, wishes)?)
    }

    async fn end_calls(
        &self,
        route: &RouteName,
        target: &TargetName,
        ends: &[CallEnd],
        chance: f64,
    ) -> Result<Vec<CallRecorded>, Fault> {
        let mut state = self.enter("end_calls").await?;
        Ok(state.rows.end_calls(route, target, ends, chance))
    }

    async fn blocked(&self, target: &TargetName) -> Result<Option<NoPermit>, Fault> {
        Ok(self.enter("blocked").await?.rows.leases.blocked(target))
    }

    async fn store_undecodable(&self, message: &UndecodableMessage<'_>) -> Result<Recorded, Fault> {
        let mut state = self.enter("store_undecodable").await?;
        Ok(state.rows.store_undecodable(message))
    }

    async fn starts(&self, route: &RouteName, of: &[Start]) -> Result<Vec<StartCounts>, Fault> {
        let state = self.enter("starts").await?;
        let counts = |start: &Start| state.rows.counts(route, start);
        Ok(of.iter().map(counts).collect())
    }

    async fn start(
        &self,
        route: &RouteName,
        by: &InstanceId,
        kind: StartKind,
        on: &[Start],
    ) -> Result<(), Fault> {
        let mut state = self.enter("start").await?;
        state.rows.start(route, *by, kind, on);
        Ok(())
    }

    async fn survived(&self, route: &RouteName, of: &[Start]) -> Result<(), Fault> {
        let mut state = self.enter("survived").await?;
        for start in of {
            state.rows.starts.remove(&(route.clone(), *start));
        }
        Ok(())
    }

    async fn retract_start(
        &self,
        route: &RouteName,
        by: &InstanceId,
        counted: CountedStart,
        of: Start,
    ) -> Result<(), Fault> {
        let mut state = self.enter("retract_start").await?;
        state.rows.retract_start(route, *by, counted, of);
        Ok(())
    }

    async fn requeue_due(&self, limit: u32, republish: &dyn Republish) -> Result<Requeued, Fault> {
        let due = {
            let state = self.enter("requeue").await?;
            let limit = state.taken_at_once.unwrap_or(limit);
            state.rows.due(limit, republish.routes())
        };
        if due.is_empty() {
            return Ok(Requeued::default());
        }
        let retries: Vec<&DueRetry> = due.iter().map(|(_, due)| due).collect();
        let is_confirmed = republish.republish(&retries).await;
        let mut requeued = Requeued::default();
        for ((on, _), is_confirmed) in due.iter().zip(is_confirmed) {
            requeued.due += 1;
            if is_confirmed {
                requeued.confirmed += 1;
                self.0.tables.state().rows.mark_queued(on);
            }
        }
        Ok(requeued)
    }

    async fn route_controls(&self) -> Result<RouteControls, Fault> {
        Ok(self.enter("route_controls").await?.controls.clone())
    }

    async fn account(&self, account: &Account) -> Result<(), Fault> {
        let mut state = self.enter("account").await?;
        state.rows.accounts.push(account.clone());
        Ok(())
    }

    async fn check_accounts(&self) -> Result<(), Fault> {
        self.enter("check").await.map(drop)
    }

    async fn take_witness(
        &self,
        _found: &[Witness],
        _routes: &[RouteName],
    ) -> Result<NextWitness, Fault> {
        Ok(NextWitness::Unchanged)
    }

    async fn witness_confirmed(&self, _sequence: u64) -> Result<(), Fault> {
        Ok(())
    }

    fn diagnose(&self, error: &(dyn Error + 'static)) -> Option<FaultKind> {
        error.downcast_ref::<MemoryError>().map(|error| error.0)
    }

    fn remedy(&self, _error: &(dyn Error + 'static)) -> Option<String> {
        Some("GRANT it".to_owned())
    }

    async fn ping(&self) -> Result<(), Fault> {
        self.enter("ping").await.map(drop)
    }

    async fn close(&self) {}
}
