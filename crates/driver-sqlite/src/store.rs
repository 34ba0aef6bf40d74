//! The `Store` seam over SQLite. Each operation has its own file; each statement is in its table's
//! file.

use std::error::Error;

use async_trait::async_trait;
use hookbox_driver::{
    CallEnd, CallRecorded, Claimed, CommitError, CountedStart, Deferral, Deferred, Failure, Fault,
    FaultKind, LeaseTerms, LeaseWish, Leased, NextWitness, NoPermit, ReceiptOutcome, Recorded,
    Republish, Requeued, RouteControls, Start, StartCounts, StartKind, Store, StoredEvent,
    TargetName, UndecodableMessage, VersionStanding, VersionedEvent,
};
use hookbox_event::{
    Account, Envelope, EventId, EventNumber, InstanceId, RouteName, Timestamp, Witness,
};
use sqlx::sqlite::SqliteConnection;

use crate::diagnose::{describe, diagnose, fault, remedy};
use crate::{
    Sqlite, Tx, accounts, call_ends, claim, compare_versions, defer, events, fail, lease, moment,
    proof, requeue, route_controls, savepoint, settle, starts, targets, withdraw, witness,
};

#[async_trait]
impl Store for Sqlite {
    type Connection = SqliteConnection;
    type Tx = Tx;

    async fn begin(&self) -> Result<Tx, Fault> {
        Ok(Tx::new(self.shared.writer.begin().await?))
    }

    async fn begin_for_handler(&self) -> Result<Tx, Fault> {
        Ok(Tx::guarded(self.shared.writer.begin().await?))
    }

    /// Does nothing: a file has one writer at a time, so storing events early would make no
    /// transaction wait less.
    async fn store_events(&self, _envelopes: &[&Envelope]) -> Result<(), Fault> {
        Ok(())
    }

    async fn claim(
        &self,
        tx: &mut Tx,
        route: &RouteName,
        envelopes: &[&Envelope],
    ) -> Result<Vec<Claimed>, Fault> {
        claim::claim(tx, route, envelopes)
            .await
            .map_err(fault("claim events"))
    }

    async fn stored(
        &self,
        tx: &mut Tx,
        events: &[EventId],
    ) -> Result<Vec<Option<StoredEvent>>, Fault> {
        let mut stored = events::stored(tx.connection(), events)
            .await
            .map_err(fault("look up events"))?;
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

    fn connection<'t>(&self, tx: &'t mut Tx) -> &'t mut SqliteConnection {
        tx.connection()
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
        // As in `settle`, the transaction is checked first: if a handler has ended it, each further
        // statement would commit on its own.
        tx.check_whole().await?;
        withdraw::withdraw(tx, route, events).await
    }

    async fn settle(
        &self,
        tx: &mut Tx,
        route: &RouteName,
        settled: &[ReceiptOutcome<'_>],
    ) -> Result<(), CommitError> {
        // If the handler has ended the transaction, each further statement would commit on its own.
        // So the transaction is checked before anything is written.
        tx.check_whole().await?;
        settle::settle(tx, route, settled).await
    }

    async fn commit(&self, tx: Tx) -> Result<(), CommitError> {
        tx.commit().await
    }

    async fn rollback(&self, tx: Tx) {
        tx.unit.rollback().await;
    }

    async fn rollback_failed(&self, tx: Tx) {
        tx.unit.rollback().await;
    }

    async fn fail(&self, failure: &Failure<'_>) -> Result<Recorded, Fault> {
        let doing = "record a failed attempt";
        let mut unit = self.shared.writer.begin().await?;
        let recorded = fail::fail(unit.connection(), failure)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))?;
        Ok(recorded)
    }

    async fn defer(&self, deferral: &Deferral<'_>) -> Result<Deferred, Fault> {
        let doing = "defer an event";
        let mut unit = self.shared.writer.begin().await?;
        let deferred = defer::defer(unit.connection(), deferral)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))?;
        Ok(deferred)
    }

    async fn lease(
        &self,
        tx: &mut Tx,
        route: &RouteName,
        terms: LeaseTerms<'_>,
        wishes: &[LeaseWish<'_>],
    ) -> Result<Vec<Leased>, CommitError> {
        // As in `settle`, the transaction is checked first: if a handler has ended it, each further
        // statement would commit on its own.
        tx.check_whole().await?;
        lease::lease(tx, route, terms, wishes).await
    }

    async fn end_calls(
        &self,
        route: &RouteName,
        target: &TargetName,
        ends: &[CallEnd],
        chance: f64,
    ) -> Result<Vec<CallRecorded>, Fault> {
        let doing = "record how external calls ended";
        let mut unit = self.shared.writer.begin().await?;
        let recorded = call_ends::end_calls(unit.connection(), route, target, ends, chance)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))?;
        Ok(recorded)
    }

    async fn blocked(&self, target: &TargetName) -> Result<Option<NoPermit>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        let state = targets::read(&mut reader, target)
            .await
            .map_err(fault("read the state of a target"))?;
        Ok(state.blocked(Timestamp::from_unix_micros(moment::now())))
    }

    async fn store_undecodable(
        &self,
        undecodable: &UndecodableMessage<'_>,
    ) -> Result<Recorded, Fault> {
        let doing = "store undecodable bytes";
        let mut unit = self.shared.writer.begin().await?;
        let recorded = fail::store_undecodable(unit.connection(), undecodable)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))?;
        Ok(recorded)
    }

    async fn starts(&self, route: &RouteName, of: &[Start]) -> Result<Vec<StartCounts>, Fault> {
        let mut reader = self.shared.readers.take().await?;
        starts::counted(&mut reader, route, of)
            .await
            .map_err(fault("read start markers"))
    }

    async fn start(
        &self,
        route: &RouteName,
        by: &InstanceId,
        kind: StartKind,
        on: &[Start],
    ) -> Result<(), Fault> {
        let doing = "count a start of a handler";
        let mut unit = self.shared.writer.begin().await?;
        starts::count(unit.connection(), (route, by, kind), on, moment::now())
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))
    }

    async fn survived(&self, route: &RouteName, of: &[Start]) -> Result<(), Fault> {
        let doing = "clear start markers";
        let mut unit = self.shared.writer.begin().await?;
        starts::forget(unit.connection(), route, of)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))
    }

    async fn retract_start(
        &self,
        route: &RouteName,
        by: &InstanceId,
        counted: CountedStart,
        of: Start,
    ) -> Result<(), Fault> {
        let doing = "subtract a counted start of a handler";
        let mut unit = self.shared.writer.begin().await?;
        starts::retract(unit.connection(), route, by, counted, of)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))
    }

    async fn requeue_due(&self, limit: u32, republish: &dyn Republish) -> Result<Requeued, Fault> {
        requeue::requeue_due(&self.shared, limit, republish).await
    }

    async fn route_controls(&self) -> Result<RouteControls, Fault> {
        let mut reader = self.shared.readers.take().await?;
        route_controls::all(&mut reader)
            .await
            .map_err(fault("read the pauses and limits of the routes"))
    }

    async fn account(&self, account: &Account) -> Result<(), Fault> {
        let doing = "write an accept report";
        let mut unit = self.shared.writer.begin_to_operate().await?;
        accounts::account(unit.connection(), account)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))
    }

    async fn check_accounts(&self) -> Result<(), Fault> {
        let doing = "check the accept reports";
        let mut reader = self.shared.readers.take().await?;
        let wanted = accounts::is_to_check(&mut reader).await;
        drop(reader);
        // A read first finds out whether there is a receipt to remove from the list of open ones.
        // Only then is the writing connection used.
        if !wanted.map_err(fault(doing))? {
            return Ok(());
        }
        let mut unit = self.shared.writer.begin_to_operate().await?;
        accounts::check(unit.connection())
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))
    }

    async fn take_witness(
        &self,
        found: &[Witness],
        routes: &[RouteName],
    ) -> Result<NextWitness, Fault> {
        let doing = "write the next witness";
        let mut unit = self.shared.writer.begin_to_operate().await?;
        let next = witness::take(unit.connection(), found, routes)
            .await
            .map_err(fault(doing))?;
        match &next {
            NextWitness::Publish(_) => unit.commit().await.map_err(fault(doing))?,
            NextWitness::Unchanged | NextWitness::Mismatch(_) => unit.rollback().await,
        }
        Ok(next)
    }

    async fn witness_confirmed(&self, sequence: u64) -> Result<(), Fault> {
        let doing = "record a confirmed witness";
        let mut unit = self.shared.writer.begin_to_operate().await?;
        witness::confirmed(unit.connection(), sequence)
            .await
            .map_err(fault(doing))?;
        unit.commit().await.map_err(fault(doing))
    }

    fn diagnose(&self, error: &(dyn Error + 'static)) -> Option<FaultKind> {
        diagnose(error)
    }

    fn describe(&self, error: &(dyn Error + 'static)) -> String {
        describe(error)
    }

    fn remedy(&self, error: &(dyn Error + 'static)) -> Option<String> {
        remedy(error)
    }

    async fn ping(&self) -> Result<(), Fault> {
        let mut reader = self.shared.readers.take().await?;
        // This query reads the file. `SELECT 1` would not read it.
        sqlx::query("select count(*) from meta")
            .execute(&mut *reader)
            .await
            .map_err(fault("read the SQLite file"))
            .map(drop)
    }

    async fn close(&self) {
        self.end().await;
    }
}
