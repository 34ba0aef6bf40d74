//! A store in memory. It keeps every transaction that it reports as committed. When it reports an
//! error, the transaction may be committed nevertheless.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use hookbox_driver::{
    CallEnd, CallRecorded, Claimed, CommitError, CountedStart, Deferral, Deferred, Failure,
    Fault as OurFault, FaultKind, LeaseTerms, LeaseWish, Leased, NextWitness, NoPermit,
    ReceiptOutcome, Recorded, Republish, Requeued, RouteControls, Start, StartCounts, StartKind,
    Store, StoredEvent, TargetName, UndecodableMessage, VersionStanding, VersionedEvent,
};
use hookbox_event::{Account, Envelope, EventId, EventNumber, InstanceId, RouteName, Witness};

use crate::fault::Fault;
use crate::leases::clock;
use crate::newest;
use crate::process::Process;
use crate::route_controls;
use crate::tables::Key;
use crate::tx::{SimConnection, SimError, SimTx};
use crate::unavailable::unavailable;

mod claim;
mod lease;
mod open;
mod record;
mod requeue;
mod savepoint;
mod settle;
mod witness;

/// The store as one process sees it.
pub(crate) struct SimStore {
    pub process: Arc<Process>,
}

#[async_trait]
impl Store for SimStore {
    type Connection = SimConnection;
    type Tx = SimTx;

    async fn begin(&self) -> Result<SimTx, OurFault> {
        self.open("begin a transaction").await
    }

    async fn store_events(&self, envelopes: &[&Envelope]) -> Result<(), OurFault> {
        let tx = self.open("store events").await?;
        let keys: Vec<Key> = envelopes.iter().map(|it| Key::Event(it.event)).collect();
        record::in_transaction(tx, &keys, |tables, _| {
            for envelope in envelopes {
                tables.keep_event(envelope);
            }
        })
        .await
    }

    async fn claim(
        &self,
        tx: &mut SimTx,
        route: &RouteName,
        envelopes: &[&Envelope],
    ) -> Result<Vec<Claimed>, OurFault> {
        tx.statement("claim events").await?;
        let mut found = BTreeMap::new();
        let mut sorted: Vec<&Envelope> = envelopes.to_vec();
        // All transactions take their locks in the same order, which prevents deadlocks.
        sorted.sort_by_key(|envelope| envelope.event);
        for envelope in sorted {
            let redone = match envelope.redo {
                Some(redo) => claim::redone(tx, route, envelope, redo.attempt).await?,
                None => None,
            };
            let claimed = match redone {
                Some(claimed) => claimed,
                None => claim::plain(tx, route, envelope).await?,
            };
            found.insert(envelope.event, claimed);
        }
        tx.statement("read the claims of events").await?;
        let claimed = envelopes.iter().filter_map(|it| found.get(&it.event));
        Ok(claimed.copied().collect())
    }

    async fn stored(
        &self,
        tx: &mut SimTx,
        events: &[EventId],
    ) -> Result<Vec<Option<StoredEvent>>, OurFault> {
        tx.statement("read stored events").await?;
        let stored = events.iter().map(|event| claim::stored(tx, event));
        Ok(stored.collect())
    }

    async fn compare_versions(
        &self,
        tx: &mut SimTx,
        route: &RouteName,
        events: &[VersionedEvent],
    ) -> Result<Vec<VersionStanding>, OurFault> {
        newest::compare(tx, route, events).await
    }

    fn number(&self, tx: &SimTx, route: &RouteName, event: &EventId) -> Option<EventNumber> {
        let on = (route.clone(), *event);
        let owned = tx.owned.contains_key(&on) || tx.leases.iter().any(|it| it.on == on);
        owned.then(|| self.process.world.state().tables.number(*event))
    }

    fn connection<'t>(&self, tx: &'t mut SimTx) -> &'t mut SimConnection {
        &mut tx.connection
    }

    async fn begin_for_handler(&self) -> Result<SimTx, OurFault> {
        self.open("begin a transaction for a handler").await
    }

    async fn prove(&self, tx: &mut SimTx) -> Result<(), CommitError> {
        if tx.connection.ended {
            self.process.step("prove").await;
            return Err(savepoint::ended(tx));
        }
        tx.statement("prove").await?;
        if tx.connection.aborted {
            return Err(savepoint::broken());
        }
        Ok(())
    }

    async fn savepoint(&self, tx: &mut SimTx) -> Result<(), CommitError> {
        savepoint::set(tx).await
    }

    async fn undo(&self, tx: &mut SimTx) -> Result<(), CommitError> {
        savepoint::undo(tx).await
    }

    async fn withdraw(
        &self,
        tx: &mut SimTx,
        route: &RouteName,
        events: &[EventId],
    ) -> Result<(), CommitError> {
        savepoint::withdraw(tx, route, events).await
    }

    async fn settle(
        &self,
        tx: &mut SimTx,
        route: &RouteName,
        settled: &[ReceiptOutcome<'_>],
    ) -> Result<(), CommitError> {
        settle::settle(tx, route, settled).await
    }

    async fn commit(&self, mut tx: SimTx) -> Result<(), CommitError> {
        tx.statement("check the transaction before the commit")
            .await?;
        if tx.connection.aborted {
            return Err(savepoint::broken());
        }
        if tx.owned.values().any(|owned| owned.end.is_none()) {
            let doing = "commit: a claim has no outcome";
            return Err(OurFault::plain(FaultKind::Internal, doing).into());
        }
        savepoint::check_undone(&tx);
        let world = Arc::clone(&self.process.world);
        let faults = [
            Fault::AbortedUnknown,
            Fault::CommittedUnknown,
            Fault::CommittedLate,
        ];
        let fault = world.one_of(&faults, &self.process.name);
        let changes = tx.changes();
        let took = match fault {
            Some(Fault::AbortedUnknown) => false,
            Some(Fault::CommittedLate) => {
                // The process has given up the transaction, but the store itself commits it later.
                tx.ended = true;
                let wait = world.chance.millis(20, 2_500);
                world.after(wait, move |world| {
                    changes.apply(world);
                });
                false
            }
            Some(_) | None => {
                tx.ended = changes.apply(&world);
                tx.ended
            }
        };
        self.process.step("committed").await;
        match fault {
            None if took => Ok(()),
            _ => Err(unavailable("commit: the store gave no answer").into()),
        }
    }

    async fn rollback(&self, mut tx: SimTx) {
        self.process.step("rollback").await;
        tx.give_up();
    }

    async fn rollback_failed(&self, tx: SimTx) {
        self.rollback(tx).await;
    }

    async fn fail(&self, failure: &Failure<'_>) -> Result<Recorded, OurFault> {
        let tx = self.open("record a failure").await?;
        let (route, event) = (failure.route.clone(), failure.envelope.event);
        let keys = [Key::Event(event), Key::Claim(route, event)];
        record::in_transaction(tx, &keys, |tables, now| record::fail(tables, failure, now)).await
    }

    async fn defer(&self, deferral: &Deferral<'_>) -> Result<Deferred, OurFault> {
        let tx = self.open("defer an event").await?;
        let (route, event) = (deferral.route.clone(), deferral.envelope.event);
        let keys = [
            Key::Event(event),
            Key::Claim(route.clone(), event),
            Key::Retry(route, event),
        ];
        record::in_transaction(tx, &keys, |tables, now| {
            record::defer(tables, deferral, now)
        })
        .await
    }

    async fn lease(
        &self,
        tx: &mut SimTx,
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
    ) -> Result<Vec<CallRecorded>, OurFault> {
        let tx = self.open("record the ends of calls").await?;
        let keys = lease::keys(route, target, ends);
        record::in_transaction(tx, &keys, |tables, now| {
            lease::end(tables, (route, target), ends, chance, now)
        })
        .await
    }

    async fn blocked(&self, target: &TargetName) -> Result<Option<NoPermit>, OurFault> {
        self.open("read the state of a target").await?;
        let world = &self.process.world;
        let state = world.state().tables.targets.get(target).copied();
        Ok(state.and_then(|state| state.blocked(clock(world.elapsed()))))
    }

    async fn store_undecodable(&self, it: &UndecodableMessage<'_>) -> Result<Recorded, OurFault> {
        let tx = self.open("store undecodable bytes").await?;
        let event = it.event;
        let keys = [Key::Event(event), Key::Claim(it.route.clone(), event)];
        record::in_transaction(tx, &keys, |tables, _| record::store_undecodable(tables, it)).await
    }

    async fn starts(&self, route: &RouteName, of: &[Start]) -> Result<Vec<StartCounts>, OurFault> {
        let tx = self.open("read start markers").await?;
        tx.statement("read start counts").await?;
        let state = self.process.world.state();
        let on = |start: &Start| (route.clone(), *start);
        let count = |start| {
            state
                .tables
                .starts
                .get(&on(start))
                .map_or_else(StartCounts::default, |it| it.0)
        };
        let counts: Vec<StartCounts> = of.iter().map(count).collect();
        self.process.isolation.counts_read(route, of, &counts);
        Ok(counts)
    }

    async fn start(
        &self,
        route: &RouteName,
        by: &InstanceId,
        kind: StartKind,
        of: &[Start],
    ) -> Result<(), OurFault> {
        let (name, isolation) = (&self.process.name, &self.process.isolation);
        let tx = self.open("count the start of a handler").await?;
        let counted = record::in_transaction(tx, &[], |tables, _| {
            record::start(tables, name, (*by, kind), route, of)
        });
        let counted = counted.await.map(|_| isolation.counted(route, of));
        if counted.is_err() {
            let tables = &mut self.process.world.state().tables;
            tables.not_heard(name, route, of);
        }
        counted
    }

    async fn survived(&self, route: &RouteName, of: &[Start]) -> Result<(), OurFault> {
        let tx = self.open("clear start markers").await?;
        let forgot =
            record::in_transaction(tx, &[], |tables, _| record::survived(tables, route, of));
        forgot.await?;
        self.process.isolation.cleared(route, of);
        Ok(())
    }

    async fn retract_start(
        &self,
        route: &RouteName,
        by: &InstanceId,
        counted: CountedStart,
        of: Start,
    ) -> Result<(), OurFault> {
        let tx = self.open("subtract the start of a handler").await?;
        let (name, isolation) = (&self.process.name, &self.process.isolation);
        let retracted = record::in_transaction(tx, &[], |tables, _| {
            record::retract_start(tables, name, (*by, counted), (route, of))
        });
        retracted.await.map(|_| isolation.retracted(route, of))
    }

    async fn requeue_due(
        &self,
        limit: u32,
        republish: &dyn Republish,
    ) -> Result<Requeued, OurFault> {
        let tx = self.open("find due retries").await?;
        requeue::requeue(tx, limit, republish).await
    }

    async fn route_controls(&self) -> Result<RouteControls, OurFault> {
        route_controls::read(&self.process).await
    }

    async fn account(&self, account: &Account) -> Result<(), OurFault> {
        let tx = self.open("write an accept report").await?;
        let mut state = self.process.world.state();
        let report = (account.instance, account.first, account.last);
        let text = format!("accept report {report:?}");
        state.trace.note(&text);
        if let Some(what) = state.tables.accounts.write(account) {
            state.violate("I2", &what);
        }
        drop(state);
        drop(tx);
        Ok(())
    }

    async fn check_accounts(&self) -> Result<(), OurFault> {
        self.open("check the accept reports").await.map(drop)
    }

    async fn take_witness(
        &self,
        found: &[Witness],
        routes: &[RouteName],
    ) -> Result<NextWitness, OurFault> {
        witness::take(&self.process, found, routes).await
    }

    async fn witness_confirmed(&self, sequence: u64) -> Result<(), OurFault> {
        witness::confirmed(&self.process, sequence).await
    }

    fn diagnose(&self, error: &(dyn Error + 'static)) -> Option<FaultKind> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<SimError>() {
                return match error {
                    SimError::Gone => Some(FaultKind::Unavailable),
                    SimError::Deadlock | SimError::Locked => Some(FaultKind::Contention),
                    SimError::Denied => Some(FaultKind::MissingRight),
                    SimError::Refused => None,
                };
            }
            next = error.source();
        }
        None
    }

    fn remedy(&self, _error: &(dyn Error + 'static)) -> Option<String> {
        Some("GRANT it".to_owned())
    }

    async fn ping(&self) -> Result<(), OurFault> {
        self.open("ping").await.map(drop)
    }

    async fn close(&self) {
        self.process.step("close the store").await;
    }
}
