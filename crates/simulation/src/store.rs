//! A store in memory. What it says it committed it keeps, whole; what it says about anything that
//! failed may be a lie.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use async_trait::async_trait;
use hookbox_driver::{
    Burial, ClaimState, Claimed, CommitError, DueRetry, Failure, Fault as OurFault, FaultKind,
    Outcome, Recorded, Republish, Requeued, Settled, Start, Store,
};
use hookbox_event::{Account, Envelope, EventId, InstanceId, RouteName};

use crate::broker::unavailable;
use crate::fault::Fault;
use crate::process::Process;
use crate::tables::Key;
use crate::tx::{Owned, SimConnection, SimError, SimTx};

mod record;
mod requeue;

/// The store as one process sees it.
pub(crate) struct SimStore {
    pub process: Arc<Process>,
}

#[async_trait]
impl Store for SimStore {
    type Connection = SimConnection;
    type Tx = SimTx;

    async fn begin(&self) -> Result<SimTx, OurFault> {
        self.open("begin").await
    }

    async fn claim(
        &self,
        tx: &mut SimTx,
        route: &RouteName,
        envelopes: &[&Envelope],
    ) -> Result<Vec<Claimed>, OurFault> {
        tx.statement("claim").await?;
        let mut found = BTreeMap::new();
        let mut sorted: Vec<&Envelope> = envelopes.to_vec();
        // All transactions take their locks in one order.
        sorted.sort_by_key(|envelope| envelope.event);
        for envelope in sorted {
            let redone = match envelope.redo {
                Some(redo) => claim_redone(tx, route, envelope, redo.attempt).await?,
                None => None,
            };
            let claimed = match redone {
                Some(claimed) => claimed,
                None => claim_plain(tx, route, envelope).await?,
            };
            found.insert(envelope.event, claimed);
        }
        tx.statement("claims").await?;
        let claimed = envelopes.iter().filter_map(|it| found.get(&it.event));
        Ok(claimed.copied().collect())
    }

    fn connection<'t>(&self, tx: &'t mut SimTx) -> &'t mut SimConnection {
        &mut tx.connection
    }

    async fn begin_for_handler(&self) -> Result<SimTx, OurFault> {
        self.open("begin for a handler").await
    }

    async fn prove(&self, tx: &mut SimTx) -> Result<(), CommitError> {
        if tx.connection.ended {
            self.process.step("prove").await;
            return Err(ended(tx));
        }
        tx.statement("prove").await?;
        if tx.connection.aborted {
            return Err(broken());
        }
        Ok(())
    }

    async fn settle(
        &self,
        tx: &mut SimTx,
        route: &RouteName,
        settled: &[Settled<'_>],
    ) -> Result<(), CommitError> {
        if tx.connection.ended {
            return Err(ended(tx));
        }
        tx.statement("settle").await?;
        if tx.connection.aborted {
            return Err(broken());
        }
        for Settled { envelope, outcome } in settled {
            let end = |attempt: u32| match outcome {
                Outcome::Done { attempt } => (ClaimState::Done, *attempt),
                Outcome::Duplicate | Outcome::Conflict { .. } | Outcome::Dead { .. } => {
                    (ClaimState::Dead, attempt.saturating_sub(1))
                }
            };
            if *outcome != Outcome::Duplicate {
                let Some(owned) = tx.owned.get_mut(&(route.clone(), envelope.event)) else {
                    let doing = "settle an event that was not claimed";
                    return Err(OurFault::plain(FaultKind::Internal, doing).into());
                };
                owned.end = Some(end(owned.attempt));
            }
            let one = (route.clone(), (*envelope).clone(), outcome.clone());
            tx.settled.push(one);
        }
        Ok(())
    }

    async fn commit(&self, mut tx: SimTx) -> Result<(), CommitError> {
        tx.statement("guard").await?;
        if tx.connection.aborted {
            return Err(broken());
        }
        if tx.owned.values().any(|owned| owned.end.is_none()) {
            let doing = "commit: a claim has no outcome";
            return Err(OurFault::plain(FaultKind::Internal, doing).into());
        }
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
                // From here on the transaction is the store's alone.
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
            _ => Err(unavailable("commit: there was no answer").into()),
        }
    }

    async fn rollback(&self, mut tx: SimTx) {
        self.process.step("rollback").await;
        tx.give_up();
    }

    async fn fail(&self, failure: &Failure<'_>) -> Result<Recorded, OurFault> {
        let tx = self.open("record a failure").await?;
        let (route, event) = (failure.route.clone(), failure.envelope.event);
        let keys = [Key::Event(event), Key::Claim(route, event)];
        self.record(tx, &keys, |tables, now| record::fail(tables, failure, now))
            .await
    }

    async fn bury(&self, burial: &Burial<'_>) -> Result<Recorded, OurFault> {
        let tx = self.open("bury").await?;
        let event = EventId::of_undecodable(burial.bytes);
        let keys = [Key::Event(event), Key::Claim(burial.route.clone(), event)];
        self.record(tx, &keys, |tables, _| record::bury(tables, burial))
            .await
    }

    async fn starts(&self, route: &RouteName, of: &[Start]) -> Result<Vec<u32>, OurFault> {
        let tx = self.open("look up starts").await?;
        tx.statement("starts").await?;
        let state = self.process.world.state();
        let on = |start: &Start| (route.clone(), *start);
        let count = |start| state.tables.starts.get(&on(start)).map_or(0, |it| it.0);
        let counts: Vec<u32> = of.iter().map(count).collect();
        self.process.company.told(route, of, &counts);
        Ok(counts)
    }

    async fn start(
        &self,
        route: &RouteName,
        by: &InstanceId,
        of: &[Start],
    ) -> Result<(), OurFault> {
        let tx = self.open("count starts").await?;
        let counted = self.record(tx, &[], |tables, _| {
            record::start(tables, &self.process.name, *by, route, of)
        });
        counted.await.map(drop)
    }

    async fn survived(&self, route: &RouteName, of: &[Start]) -> Result<(), OurFault> {
        let tx = self.open("forget starts").await?;
        let forgot = self.record(tx, &[], |tables, _| record::survived(tables, route, of));
        forgot.await?;
        self.process.company.cleared(route, of);
        Ok(())
    }

    async fn requeue_due(
        &self,
        limit: u32,
        republish: &dyn Republish,
    ) -> Result<Requeued, OurFault> {
        let tx = self.open("look for due retries").await?;
        requeue::requeue(tx, limit, republish).await
    }

    async fn account(&self, account: &Account) -> Result<(), OurFault> {
        let tx = self.open("account").await?;
        let mut state = self.process.world.state();
        let told = (account.instance, account.first, account.last);
        let text = format!("account {told:?}");
        state.trace.note(&text);
        if let Some(what) = state.tables.accounts.write(account) {
            state.violate("I2", &what);
        }
        drop(state);
        drop(tx);
        Ok(())
    }

    async fn check_accounts(&self) -> Result<(), OurFault> {
        self.open("check the accounts").await.map(drop)
    }

    fn diagnose(&self, error: &(dyn Error + 'static)) -> Option<FaultKind> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<SimError>() {
                return match error {
                    SimError::Gone => Some(FaultKind::Unavailable),
                    SimError::Deadlock => Some(FaultKind::Contention),
                    SimError::Refused => None,
                };
            }
            next = error.source();
        }
        None
    }

    async fn ping(&self) -> Result<(), OurFault> {
        self.open("ping").await.map(drop)
    }

    async fn close(&self) {
        self.process.step("close the store").await;
    }
}

impl SimStore {
    async fn open(&self, doing: &str) -> Result<SimTx, OurFault> {
        let process = &self.process;
        process.step(doing).await;
        let world = &process.world;
        let lost = world.strikes(Fault::StatementLost, &process.name);
        if lost || world.state().tables.away {
            let wait = world.chance.millis(0, 1_000);
            tokio::time::sleep(wait).await;
            return Err(unavailable(doing));
        }
        let id = world.state().tables.begin(process.number);
        Ok(SimTx::new(process, id))
    }
}

fn broken() -> CommitError {
    CommitError::BrokenByHandler {
        why: "a statement failed in it".to_owned(),
    }
}

fn ended(tx: &SimTx) -> CommitError {
    if let Some(run) = tx.connection.rolled_back.clone() {
        tx.process.note_end(run);
    }
    CommitError::EndedByHandler {
        why: "the handler ended it".to_owned(),
    }
}

/// An envelope that came from ingest.
async fn claim_plain(
    tx: &mut SimTx,
    route: &RouteName,
    envelope: &Envelope,
) -> Result<Claimed, OurFault> {
    let event = envelope.event;
    let on = (route.clone(), event);
    let held = tx.connection.events.iter().any(|it| it.event == event);
    let unknown = |tables: &crate::tables::Tables| !tables.events.contains_key(&event);
    if !held && tx.lock(Key::Event(event), unknown).await? {
        tx.connection.events.push(envelope.clone());
    }
    let own = tx.connection.events.iter().find(|it| it.event == event);
    let own = own.map(|it| it.digest);
    let kept = || {
        let state = tx.process.world.state();
        state.tables.events.get(&event).map(|it| it.digest)
    };
    let same = own.or_else(kept) == Some(envelope.digest);
    let key = Key::Claim(route.clone(), event);
    let free = |tables: &crate::tables::Tables| same && !tables.claims.contains_key(&on);
    if tx.lock(key, free).await? {
        let owned = Owned {
            attempt: 1,
            granted: false,
            end: None,
        };
        tx.connection.claimed.push(on.clone());
        tx.owned.insert(on, owned);
        return Ok(Claimed::Fresh);
    }
    let state = tx.process.world.state();
    let receipt = (route.clone(), envelope.receipt);
    if state.tables.receipts.contains_key(&receipt) {
        return Ok(Claimed::Redelivered);
    }
    if !same {
        return Ok(Claimed::Conflict);
    }
    match state.tables.claims.get(&on).map(|it| it.state) {
        Some(ClaimState::Running) => Ok(Claimed::Orphaned),
        Some(ClaimState::Done | ClaimState::Retrying | ClaimState::Dead) => Ok(Claimed::Duplicate),
        None => Err(OurFault::plain(
            FaultKind::Contention,
            "claim an event: what was in the way has vanished",
        )),
    }
}

/// A retry. None when its event was never claimed.
async fn claim_redone(
    tx: &mut SimTx,
    route: &RouteName,
    envelope: &Envelope,
    wanted: u32,
) -> Result<Option<Claimed>, OurFault> {
    let on = (route.clone(), envelope.event);
    let key = Key::Claim(route.clone(), envelope.event);
    let known = |tables: &crate::tables::Tables| tables.claims.contains_key(&on);
    if !tx.lock(key, known).await? {
        return Ok(None);
    }
    let state = tx.process.world.state();
    let claim = state.tables.claims.get(&on).map(|it| it.state);
    let retry = state.tables.retries.get(&on).cloned();
    drop(state);
    Ok(match (claim, retry) {
        (None, _) => None,
        (Some(ClaimState::Retrying), Some(retry)) if retry.attempt == wanted => {
            let owned = Owned {
                attempt: wanted,
                granted: true,
                end: None,
            };
            tx.connection.claimed.push(on.clone());
            tx.owned.insert(on, owned);
            Some(Claimed::Granted {
                attempt: wanted,
                attempts_before: retry.before,
            })
        }
        (Some(ClaimState::Running), _) => Some(Claimed::Orphaned),
        (Some(ClaimState::Retrying | ClaimState::Done | ClaimState::Dead), _) => {
            Some(Claimed::Redelivered)
        }
    })
}

/// A retry as it travels.
pub(crate) fn due_retry(route: &RouteName, envelope: Envelope, attempt: u32) -> DueRetry {
    let redo = Some(hookbox_event::Redo { attempt });
    DueRetry {
        route: route.clone(),
        envelope: Envelope { redo, ..envelope },
    }
}
