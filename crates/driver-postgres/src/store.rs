//! The `Store` seam over PostgreSQL. Each operation has its own file; each statement is in its
//! table's file.

use std::error::Error;

use async_trait::async_trait;
use hookbox_driver::{
    CallEnd, CallRecorded, Claimed, CommitError, CountedStart, Deferral, Deferred, Failure, Fault,
    FaultKind, LeaseTerms, LeaseWish, Leased, NextWitness, NoPermit, ReceiptOutcome, Recorded,
    Republish, Requeued, RouteControls, Start, StartCounts, StartKind, Store, StoredEvent,
    TargetName, UndecodableMessage, VersionStanding, VersionedEvent,
};
use hookbox_event::{Account, Envelope, EventId, EventNumber, InstanceId, RouteName, Witness};
use sqlx::PgConnection;

use crate::server::remedy;
use crate::{
    Postgres, Tx, accounts, call_ends, claim, compare_versions, defer, diagnose, events, fail,
    lease, proof, requeue, route_controls, savepoint, settle, starts, targets, withdraw, witness,
};

#[async_trait]
impl Store for Postgres {
    type Connection = PgConnection;
    type Tx = Tx;

    async fn begin(&self) -> Result<Tx, Fault> {
        self.attempt().await
    }

    async fn begin_for_handler(&self) -> Result<Tx, Fault> {
        self.lend().await
    }

    async fn store_events(&self, envelopes: &[&Envelope]) -> Result<(), Fault> {
        let mut tx = self.write().await?;
        tx.run(|c| events::insert(c, envelopes))
            .await
            .map_err(|error| error.ours("store events"))?;
        tx.commit_ours().await
    }

    async fn claim(
        &self,
        tx: &mut Tx,
        route: &RouteName,
        envelopes: &[&Envelope],
    ) -> Result<Vec<Claimed>, Fault> {
        claim::claim(tx, route, envelopes).await
    }

    async fn stored(
        &self,
        tx: &mut Tx,
        events: &[EventId],
    ) -> Result<Vec<Option<StoredEvent>>, Fault> {
        let mut stored = tx
            .run(|c| events::stored(c, events))
            .await
            .map_err(|error| error.ours("look up events"))?;
        Ok(events.iter().map(|event| stored.remove(event)).collect())
    }

    async fn compare_versions(
        &self,
        tx: &mut Tx,
        route: &RouteName,
        events: &[VersionedEvent],
    ) -> Result<Vec<VersionStanding>, Fault> {
        compare_versions::compare_versions(tx, route, events).await
    }

    fn number(&self, tx: &Tx, route: &RouteName, event: &EventId) -> Option<EventNumber> {
        let key = (route.clone(), *event);
        let is_owned = tx.owned.contains_key(&key) || tx.leased.contains(&key);
        tx.numbers.get(event).copied().filter(|_| is_owned)
    }

    fn connection<'t>(&self, tx: &'t mut Tx) -> &'t mut PgConnection {
        tx.lend()
    }

    async fn prove(&self, tx: &mut Tx) -> Result<(), CommitError> {
        proof::prove(tx).await
    }

    async fn savepoint(&self, tx: &mut Tx) -> Result<(), CommitError> {
        savepoint::set(tx).await
    }

    async fn undo(&self, tx: &mut Tx) -> Result<(), CommitError> {
        savepoint::undo(tx).await
    }

    async fn withdraw(
        &self,
        tx: &mut Tx,
        route: &RouteName,
        events: &[EventId],
    ) -> Result<(), CommitError> {
        withdraw::withdraw(tx, route, events).await
    }

    async fn settle(
        &self,
        tx: &mut Tx,
        route: &RouteName,
        settled: &[ReceiptOutcome<'_>],
    ) -> Result<(), CommitError> {
        settle::settle(tx, route, settled).await
    }

    async fn commit(&self, tx: Tx) -> Result<(), CommitError> {
        tx.commit().await
    }

    async fn rollback(&self, tx: Tx) {
        tx.rollback().await;
    }

    async fn rollback_failed(&self, tx: Tx) {
        tx.rollback_failed().await;
    }

    async fn fail(&self, failure: &Failure<'_>) -> Result<Recorded, Fault> {
        fail::fail(self.write().await?, failure).await
    }

    async fn defer(&self, deferral: &Deferral<'_>) -> Result<Deferred, Fault> {
        defer::defer(self.write().await?, deferral).await
    }

    async fn lease(
        &self,
        tx: &mut Tx,
        route: &RouteName,
        terms: LeaseTerms<'_>,
        wishes: &[LeaseWish<'_>],
    ) -> Result<Vec<Leased>, CommitError> {
        lease::lease(tx, route, terms, wishes).await
    }

    async fn end_calls(
        &self,
        route: &RouteName,
        target: &TargetName,
        ends: &[CallEnd],
        chance: f64,
    ) -> Result<Vec<CallRecorded>, Fault> {
        call_ends::end_calls(self.attempt().await?, route, target, ends, chance).await
    }

    async fn blocked(&self, target: &TargetName) -> Result<Option<NoPermit>, Fault> {
        let mut tx = self.write().await?;
        let (state, now) = tx
            .run(|c| targets::read(c, target))
            .await
            .map_err(|error| error.ours("read the state of a target"))?;
        tx.rollback().await;
        Ok(state.blocked(now))
    }

    async fn store_undecodable(
        &self,
        undecodable: &UndecodableMessage<'_>,
    ) -> Result<Recorded, Fault> {
        fail::store_undecodable(self.write().await?, undecodable).await
    }

    async fn starts(&self, route: &RouteName, of: &[Start]) -> Result<Vec<StartCounts>, Fault> {
        let mut tx = self.write().await?;
        let counts = tx
            .run(|c| starts::counted(c, route, of))
            .await
            .map_err(|error| error.ours("read start markers"))?;
        tx.rollback().await;
        Ok(counts)
    }

    async fn start(
        &self,
        route: &RouteName,
        by: &InstanceId,
        kind: StartKind,
        on: &[Start],
    ) -> Result<(), Fault> {
        let mut tx = self.write().await?;
        tx.run(|c| starts::count(c, route, by, kind, on))
            .await
            .map_err(|error| error.ours("count a start of a handler"))?;
        tx.commit_ours().await
    }

    async fn survived(&self, route: &RouteName, of: &[Start]) -> Result<(), Fault> {
        let mut tx = self.write().await?;
        tx.run(|c| starts::forget(c, route, of))
            .await
            .map_err(|error| error.ours("clear start markers"))?;
        tx.commit_ours().await
    }

    async fn retract_start(
        &self,
        route: &RouteName,
        by: &InstanceId,
        counted: CountedStart,
        of: Start,
    ) -> Result<(), Fault> {
        let mut tx = self.write().await?;
        tx.run(|c| starts::retract(c, route, by, counted, of))
            .await
            .map_err(|error| error.ours("subtract a counted start of a handler"))?;
        tx.commit_ours().await
    }

    async fn requeue_due(&self, limit: u32, republish: &dyn Republish) -> Result<Requeued, Fault> {
        requeue::requeue_due(self.write().await?, limit, republish).await
    }

    async fn route_controls(&self) -> Result<RouteControls, Fault> {
        let mut tx = self.read().await?;
        let controls = tx
            .run(route_controls::all)
            .await
            .map_err(|error| error.ours("read the pauses and limits of the routes"))?;
        tx.rollback().await;
        Ok(controls)
    }

    async fn account(&self, account: &Account) -> Result<(), Fault> {
        accounts::account(self.write().await?, account).await
    }

    async fn check_accounts(&self) -> Result<(), Fault> {
        accounts::check(self.write().await?).await
    }

    async fn take_witness(
        &self,
        found: &[Witness],
        routes: &[RouteName],
    ) -> Result<NextWitness, Fault> {
        self.next_witness(found, routes).await
    }

    async fn witness_confirmed(&self, sequence: u64) -> Result<(), Fault> {
        witness::confirmed(self.write().await?, sequence).await
    }

    fn diagnose(&self, error: &(dyn Error + 'static)) -> Option<FaultKind> {
        diagnose::diagnose(error)
    }

    fn describe(&self, error: &(dyn Error + 'static)) -> String {
        diagnose::describe(error)
    }

    fn remedy(&self, error: &(dyn Error + 'static)) -> Option<String> {
        let role = self.connections.options().role();
        remedy::remedy(error, &role)
    }

    async fn ping(&self) -> Result<(), Fault> {
        self.connections.probe().await
    }

    async fn close(&self) {
        self.connections.close().await;
    }
}
