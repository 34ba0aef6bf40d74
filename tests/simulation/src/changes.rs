//! The changes of a transaction of the in-memory store, which its commit applies.

use std::collections::BTreeMap;

use hookbox_driver::{DeadReason, Outcome, TargetName, TargetState, VersionedEvent};
use hookbox_event::Envelope;

use crate::handler_run::Effect;
use crate::leases::NewLease;
use crate::on_route::OnRoute;
use crate::settled_receipt::SettledReceipt;
use crate::tables::{Claim, StoredOutcome, Tables};
use crate::tx::{OwnedClaim, SimTx};
use crate::world::World;

impl SimTx {
    /// Takes the pending changes out of the transaction, and returns them, so that they can be
    /// applied at the commit.
    pub fn changes(&mut self) -> Changes {
        Changes {
            by: self.process.name.clone(),
            tx: self.id,
            owned: std::mem::take(&mut self.owned),
            events: std::mem::take(&mut self.connection.events),
            settled: std::mem::take(&mut self.settled),
            leases: std::mem::take(&mut self.leases),
            target: self.target.take(),
            versions: std::mem::take(&mut self.versions),
            effects: std::mem::take(&mut self.connection.effects),
        }
    }
}

/// The changes of a transaction. All become visible at the same time.
pub(crate) struct Changes {
    by: String,
    tx: u64,
    owned: BTreeMap<OnRoute, OwnedClaim>,
    events: Vec<Envelope>,
    settled: Vec<SettledReceipt>,
    leases: Vec<NewLease>,
    target: Option<(TargetName, TargetState)>,
    versions: Vec<VersionedEvent>,
    effects: Vec<Effect>,
}

impl Changes {
    /// Commits the changes if the transaction is still open, and returns whether it was.
    pub fn apply(self, world: &World) -> bool {
        let mut state = world.state();
        if !state.tables.is_open(self.tx) {
            return false;
        }
        let tables = &mut state.tables;
        for envelope in &self.events {
            tables.keep_event(envelope);
        }
        for one in &self.settled {
            let granted = self.owned.get(&(one.route.clone(), one.envelope.event));
            let granted = granted.is_some_and(|it| it.granted);
            settle_one(tables, one, granted);
        }
        tables.newest.raise(&self.settled, &self.versions);
        for lease in &self.leases {
            tables.give(lease);
        }
        if let Some((target, state)) = self.target {
            tables.targets.insert(target, state);
        }
        for (on, owned) in self.owned {
            if let Some((state, attempts)) = owned.end {
                tables.claims.insert(on, Claim { state, attempts });
            }
        }
        let text = format!(
            "{} commits {}: {} outcomes, {} leases, {} effects",
            self.by,
            self.tx,
            self.settled.len(),
            self.leases.len(),
            self.effects.len()
        );
        tables.effects.extend(self.effects);
        tables.close(self.tx);
        let doubled = tables.doubled();
        let mut innocents = Vec::new();
        for one in &self.settled {
            let (route, envelope, outcome) = (&one.route, &one.envelope, &one.outcome);
            let is_quarantine = matches!(
                outcome,
                Outcome::Dead {
                    reason: DeadReason::Quarantined,
                    ..
                }
            );
            if is_quarantine && !tables.convict(route, envelope) {
                innocents.push((route.clone(), envelope.event));
            }
        }
        for on in innocents {
            state.violate(
                "I10",
                &format!("{on:?} is quarantined after too few deaths"),
            );
        }
        state.trace.note(&text);
        for on in doubled {
            state.violate("I3", &format!("{on:?} has more than one effect"));
        }
        drop(state);
        world.unlocked.notify_waiters();
        true
    }
}

fn settle_one(tables: &mut Tables, one: &SettledReceipt, granted: bool) {
    let (route, envelope, outcome) = (&one.route, &one.envelope, &one.outcome);
    let on = (route.clone(), envelope.event);
    let (word, followed) = match outcome {
        Outcome::Done { .. } => (StoredOutcome::Done, Some(StoredOutcome::Done)),
        Outcome::Duplicate => (StoredOutcome::Duplicate, None),
        Outcome::Conflict { .. } => (StoredOutcome::Conflict, Some(StoredOutcome::Dead)),
        Outcome::Dead { .. } => (StoredOutcome::Dead, Some(StoredOutcome::Dead)),
        Outcome::Stale => (StoredOutcome::Stale, Some(StoredOutcome::Stale)),
    };
    tables.put_receipt(route, envelope, word, one.other_digest);
    let attempts = |tables: &Tables| tables.claims.get(&on).map_or(0, |it| it.attempts);
    match outcome {
        Outcome::Done { .. } | Outcome::Duplicate | Outcome::Stale => {}
        Outcome::Conflict { .. } => {
            let attempts = attempts(tables);
            tables.put_dead(&on, hookbox_driver::DeadReason::Conflict, attempts);
        }
        Outcome::Dead { reason, .. } => {
            let attempts = attempts(tables);
            tables.put_dead(&on, *reason, attempts);
        }
    }
    if granted && let Some(word) = followed {
        tables.retries.remove(&on);
        tables.update_outcome(route, &envelope.event, word);
    }
}
