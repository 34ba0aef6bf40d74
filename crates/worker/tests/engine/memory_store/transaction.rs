//! One transaction of the memory store: its claims, its pending changes, and its end.

use std::sync::Arc;

use hookbox_driver::{
    ClaimState, Claimed, CommitError, Fault, FaultKind, KeyState, LeaseTerms, LeaseWish, Leased,
    Outcome, StoredEvent, VersionStanding, VersionedEvent, newest_of_each_key,
};
use hookbox_event::{ContentDigest, Envelope, EventId, EventNumber, ReceiptId, RouteName};

use super::On;
use super::lease_rows::PendingLeases;
use super::rows::Key;
use crate::memory_process::MemoryProcess;

/// An open transaction. Dropping it rolls it back.
pub struct MemoryTx {
    process: Arc<MemoryProcess>,
    number: u64,
    pub outcomes: Vec<(RouteName, Envelope, Outcome)>,
    pub other_digests: Vec<(ReceiptId, ContentDigest)>,
    /// How many effects were written before the savepoint.
    pub savepoint: usize,
    pub connection: MemoryConnection,
    pub leases: PendingLeases,
    /// The events whose versions were compared.
    versions: Vec<VersionedEvent>,
}

/// The connection that a handler borrows.
pub struct MemoryConnection {
    process: Arc<MemoryProcess>,
    number: u64,
    pub effects: Vec<EventId>,
    /// Whether a statement has failed, so that nothing of the transaction can be committed.
    pub is_broken: bool,
    /// Whether the handler has ended the transaction.
    is_ended: bool,
    events: Vec<Envelope>,
    claimed: Vec<On>,
}

impl MemoryTx {
    pub fn new(process: &Arc<MemoryProcess>, number: u64) -> Self {
        Self {
            process: Arc::clone(process),
            number,
            outcomes: Vec::new(),
            other_digests: Vec::new(),
            savepoint: 0,
            leases: PendingLeases::default(),
            versions: Vec::new(),
            connection: MemoryConnection {
                process: Arc::clone(process),
                number,
                effects: Vec::new(),
                is_broken: false,
                is_ended: false,
                events: Vec::new(),
                claimed: Vec::new(),
            },
        }
    }

    pub fn claim(&mut self, route: &RouteName, envelope: &Envelope) -> Result<Claimed, Fault> {
        let on: On = (route.clone(), envelope.event);
        let tables = Arc::clone(&self.process.tables);
        let mut state = tables.state();
        let held = state.locks.get(&on);
        if held.is_some_and(|held| held.0 != self.number) {
            let doing = "claim: another transaction holds the claim";
            return Err(Fault::plain(FaultKind::Contention, doing));
        }
        let claimed = state.rows.claim(&on, envelope);
        if let Claimed::Fresh | Claimed::Granted { .. } = claimed {
            state
                .locks
                .insert(on.clone(), (self.number, self.process.number));
            self.connection.claimed.push(on);
            self.connection.events.push(envelope.clone());
        }
        Ok(claimed)
    }

    /// Compares the versions of events, and holds their keys until the transaction ends.
    pub fn compare_versions(
        &mut self,
        route: &RouteName,
        events: &[VersionedEvent],
    ) -> Result<Vec<VersionStanding>, Fault> {
        let tables = Arc::clone(&self.process.tables);
        let mut state = tables.state();
        let holder = (self.number, self.process.number);
        let mut standings = Vec::with_capacity(events.len());
        for event in events {
            let key = (route.clone(), event.key);
            let held = state.key_locks.get(&key);
            if held.is_some_and(|held| held.0 != self.number) {
                let doing = "compare versions: another transaction holds a key";
                return Err(Fault::plain(FaultKind::Contention, doing));
            }
            let number = state.rows.number(event.event);
            let stored = state.rows.newest.get(&key);
            let stored = stored.map_or_else(KeyState::default, Key::state);
            standings.push(stored.standing(number, &event.version));
            state.key_locks.insert(key, holder);
            self.versions.push(event.clone());
        }
        Ok(standings)
    }

    pub fn number_of(&self, route: &RouteName, event: &EventId) -> Option<EventNumber> {
        let owned = self.connection.claimed.contains(&(route.clone(), *event));
        owned.then(|| self.process.tables.state().rows.number(*event))
    }

    pub fn stored(&self, event: &EventId) -> Option<StoredEvent> {
        let state = self.process.tables.state();
        let own = self.connection.events.iter().find(|it| it.event == *event);
        let first = state.rows.events.get(event).or(own)?;
        Some(StoredEvent {
            topic: first.topic.clone(),
            digest: first.digest,
            seal: first.seal.clone(),
            body: first.body.clone(),
        })
    }

    pub fn prove(&self) -> Result<(), CommitError> {
        let why = "the test's script makes the handler end or break its transaction".to_owned();
        if self.connection.is_ended {
            return Err(CommitError::EndedByHandler { why });
        }
        if self.connection.is_broken {
            return Err(CommitError::BrokenByHandler { why });
        }
        Ok(())
    }

    /// Undoes the effects since the savepoint. The claims stay.
    pub fn undo(&mut self) -> Result<(), CommitError> {
        if !self.connection.is_ended {
            self.connection.is_broken = false;
        }
        self.prove()?;
        self.connection.effects.truncate(self.savepoint);
        Ok(())
    }

    /// Withdraws claims. Their locks are held until the transaction ends.
    pub fn withdraw(&mut self, route: &RouteName, events: &[EventId]) {
        let is_withdrawn = |on: &On| on.0 == *route && events.contains(&on.1);
        self.connection.claimed.retain(|on| !is_withdrawn(on));
    }

    /// Turns claims into leases, as far as the target permits calls.
    pub fn lease(
        &mut self,
        route: &RouteName,
        terms: LeaseTerms<'_>,
        wishes: &[LeaseWish<'_>],
    ) -> Result<Vec<Leased>, Fault> {
        let tables = Arc::clone(&self.process.tables);
        let mut state = tables.state();
        let held = state.target_locks.get(terms.target);
        if held.is_some_and(|held| held.0 != self.number) {
            let doing = "lease: another transaction holds the target";
            return Err(Fault::plain(FaultKind::Contention, doing));
        }
        let holder = (self.number, self.process.number);
        state.target_locks.insert(terms.target.clone(), holder);
        Ok(self.leases.lease(&state.rows, route, terms, wishes))
    }

    /// Commits, and returns how many receipts got an outcome.
    pub fn commit(&mut self) -> usize {
        let is_settled = |on: &On| {
            let mut outcomes = self.outcomes.iter();
            outcomes.any(|it| it.0 == on.0 && it.1.event == on.1)
        };
        for on in &self.connection.claimed {
            assert!(
                is_settled(on) != self.leases.has(on),
                "every claim must be settled, leased or withdrawn before the commit"
            );
        }
        let tables = Arc::clone(&self.process.tables);
        let mut state = tables.state();
        state.rows.keep_events(&self.connection.events);
        for (route, envelope, outcome) in &self.outcomes {
            state.rows.settle(route, envelope, outcome);
        }
        let is_done = |event: &&VersionedEvent| {
            let mut done = self.outcomes.iter();
            done.any(|it| it.1.event == event.event && matches!(it.2, Outcome::Done { .. }))
        };
        if let Some((route, ..)) = self.outcomes.first() {
            for event in newest_of_each_key(self.versions.iter().filter(is_done)) {
                let key = (route.clone(), event.key);
                let stored = state.rows.newest.entry(key).or_default();
                stored.version = Some(event.version.clone());
            }
        }
        self.leases.commit(&mut state.rows, &self.versions);
        state
            .rows
            .other_digests
            .extend(self.other_digests.drain(..));
        state.rows.effects.append(&mut self.connection.effects);
        self.outcomes.len()
    }
}

impl Drop for MemoryTx {
    fn drop(&mut self) {
        let number = self.number;
        let mut state = self.process.tables.state();
        state.locks.retain(|_, held| held.0 != number);
        state.target_locks.retain(|_, held| held.0 != number);
        state.key_locks.retain(|_, held| held.0 != number);
    }
}

impl MemoryConnection {
    /// Rolls back as a handler does that executes ROLLBACK itself. The claims are gone then.
    pub fn roll_back(&mut self) {
        self.is_ended = true;
        self.events.clear();
        self.claimed.clear();
        self.effects.clear();
        let number = self.number;
        let mut state = self.process.tables.state();
        state.locks.retain(|_, held| held.0 != number);
    }

    /// Commits as a handler does that executes COMMIT itself. The claims are committed as they were
    /// written: as done for a first attempt, and as running for a retry. No outcome is written with
    /// them.
    pub fn commit(&mut self) {
        self.is_ended = true;
        let tables = Arc::clone(&self.process.tables);
        let mut state = tables.state();
        state.rows.keep_events(&self.events);
        for on in self.claimed.drain(..) {
            let claims = &mut state.rows.claims;
            let written = match claims.get(&on) {
                None => ClaimState::Done,
                Some(_) => ClaimState::Running,
            };
            claims.insert(on, written);
        }
        state.rows.effects.append(&mut self.effects);
        let number = self.number;
        state.locks.retain(|_, held| held.0 != number);
    }
}
