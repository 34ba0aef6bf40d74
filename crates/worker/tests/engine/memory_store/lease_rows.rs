//! The rows of leases and of targets, by the rules that all stores share.

use std::collections::{BTreeMap, BTreeSet};

use hookbox_driver::{
    BreakerState, CallEnd, CallFailure, CallRecorded, CallState, CallWrite, ClaimState,
    DeferralWrite, LeaseClaim, LeaseTerms, LeaseWish, Leased, Leases, NoPermit, TargetName,
    TargetState, Then, VersionedEvent, WaitingAttempt, frees_key, granted_leases,
};
use hookbox_event::{Envelope, EventId, EventNumber, RouteName, Timestamp};
use tokio::time::Instant;

use super::rows::{On, Retry, Rows, since};

/// The leases of events and the states of targets.
#[derive(Default)]
pub struct LeaseRows {
    leases: BTreeMap<On, Leases>,
    targets: BTreeMap<TargetName, TargetState>,
    /// The last error of each target that was not reached, or asked for a pause.
    pub last_errors: BTreeMap<TargetName, String>,
    began: Began,
    /// What was recorded of each end of a call: its event, its epoch, and the result.
    pub ends: Vec<(EventId, u32, CallRecorded)>,
}

/// When the store was made. The clock of the store counts from then.
struct Began(Instant);

impl Default for Began {
    fn default() -> Self {
        Self(Instant::now())
    }
}

/// The leases that a transaction gives when it commits.
#[derive(Default)]
pub struct PendingLeases {
    leases: Vec<PendingLease>,
    target: Option<(TargetName, TargetState)>,
}

struct PendingLease {
    on: On,
    envelope: Envelope,
    attempt: u32,
    attempts_before: u32,
    leases: Leases,
    due: Instant,
}

impl LeaseRows {
    fn now(&self) -> Timestamp {
        let elapsed = self.began.0.elapsed();
        Timestamp::from_unix_micros(0).saturating_add(elapsed)
    }

    pub fn target(&self, target: &TargetName) -> TargetState {
        self.targets.get(target).copied().unwrap_or_default()
    }

    pub fn breaker(&self, target: &TargetName) -> BreakerState {
        self.target(target).breaker(self.now())
    }

    pub fn blocked(&self, target: &TargetName) -> Option<NoPermit> {
        self.target(target).blocked(self.now())
    }

    pub fn of(&self, on: &On) -> Leases {
        self.leases.get(on).copied().unwrap_or_default()
    }
}

impl PendingLeases {
    pub fn has(&self, on: &On) -> bool {
        self.leases.iter().any(|lease| lease.on == *on)
    }

    pub fn lease(
        &mut self,
        rows: &Rows,
        route: &RouteName,
        terms: LeaseTerms<'_>,
        wishes: &[LeaseWish<'_>],
    ) -> Vec<Leased> {
        let claim = |wish: &LeaseWish<'_>| {
            let on: On = (route.clone(), wish.envelope.event);
            LeaseClaim {
                attempt: wish.attempt,
                waiting: rows.waiting(&on),
                leases: rows.leases.of(&on),
            }
        };
        let claims: Vec<LeaseClaim> = wishes.iter().map(claim).collect();
        let mut target = rows.leases.target(terms.target);
        let in_flight = rows.in_flight(terms.target);
        let allotted = terms.allot(&mut target, rows.leases.now(), in_flight, &claims);
        self.target = Some((terms.target.clone(), target));
        for (wish, leases) in granted_leases(wishes, &allotted) {
            self.leases.push(PendingLease {
                on: (route.clone(), wish.envelope.event),
                envelope: wish.envelope.clone(),
                attempt: wish.attempt,
                attempts_before: wish.attempts_before,
                leases,
                due: Instant::now() + terms.length,
            });
        }
        allotted.into_iter().map(|(leased, _)| leased).collect()
    }

    pub fn commit(&mut self, rows: &mut Rows, versions: &[VersionedEvent]) {
        let Some((name, target)) = self.target.take() else {
            return;
        };
        rows.leases.targets.insert(name.clone(), target);
        for lease in self.leases.drain(..) {
            let mut versions = versions.iter();
            if let Some(version) = versions.find(|it| it.event == lease.on.1) {
                let number = rows.number(lease.on.1);
                let key = (lease.on.0.clone(), version.key);
                let stored = rows.newest.entry(key).or_default();
                stored.calling = Some((number, lease.due));
            }
            let before = rows.retries.get(&lease.on);
            let same = before.filter(|retry| retry.attempt == lease.attempt);
            let retry = Retry {
                envelope: lease.envelope.clone(),
                attempt: lease.attempt,
                attempts_before: lease.attempts_before,
                due: lease.due,
                is_queued: false,
                leased_for: Some(name.clone()),
                deferred: same.and_then(Retry::earlier_deferral),
                expired: None,
            };
            let receipt = (lease.on.0.clone(), lease.envelope.receipt);
            rows.claims.insert(lease.on.clone(), ClaimState::Retrying);
            rows.receipts.insert(receipt, "retrying");
            rows.leases.leases.insert(lease.on.clone(), lease.leases);
            rows.retries.insert(lease.on, retry);
        }
    }
}

impl Rows {
    fn waiting(&self, on: &On) -> Option<WaitingAttempt> {
        self.retries.get(on).map(|retry| WaitingAttempt {
            attempt: retry.attempt,
            attempts_before: retry.attempts_before,
            is_put_off: retry.is_put_off(),
        })
    }

    /// Returns the number of leases of a target that have not ended.
    pub fn in_flight(&self, target: &TargetName) -> u32 {
        let is_of = |retry: &&Retry| retry.leased_for.as_ref() == Some(target) && retry.is_leased();
        self.retries.values().filter(is_of).count() as u32
    }

    pub fn end_calls(
        &mut self,
        route: &RouteName,
        target: &TargetName,
        ends: &[CallEnd],
        chance: f64,
    ) -> Vec<CallRecorded> {
        let events: BTreeSet<EventId> = ends.iter().map(|end| end.event).collect();
        assert_eq!(events.len(), ends.len(), "the events must be distinct");
        let is_closed = self.leases.breaker(target) == BreakerState::Closed;
        let recorded = ends.iter().map(|end| self.end_call(route, end, is_closed));
        let recorded: Vec<CallRecorded> = recorded.collect();
        let new = ends.iter().zip(&recorded);
        let new = new.filter(|(_, recorded)| **recorded != CallRecorded::Superseded);
        let new: Vec<CallEnd> = new.map(|(end, _)| end.clone()).collect();
        let answers: Vec<_> = new.iter().map(|end| (end.number, end.answer)).collect();
        let now = self.leases.now();
        let state = self.leases.targets.entry(target.clone()).or_default();
        state.note(now, &answers, chance);
        if let Some(error) = CallEnd::last_target_error(&new) {
            let last = error.to_owned();
            self.leases.last_errors.insert(target.clone(), last);
        }
        recorded
    }

    fn end_call(&mut self, route: &RouteName, end: &CallEnd, is_closed: bool) -> CallRecorded {
        let on: On = (route.clone(), end.event);
        let stored = CallState {
            claim: self.state(&on),
            waiting: self.waiting(&on),
            leases: self.leases.of(&on),
        };
        let deferred = self.retries.get(&on).and_then(|retry| retry.deferred);
        let deferred = deferred.map(|(reason, since)| (reason, since.elapsed()));
        let written = end.written_on(stored, deferred, is_closed);
        let recorded = written.recorded();
        let frees = frees_key(end, stored);
        let is_done = matches!(recorded, CallRecorded::Done { .. });
        match written {
            CallWrite::Done { attempt } => self.end_as_done(&on, attempt),
            CallWrite::Failed(failure) => self.end_as_failed(&on, end, (failure, false)),
            CallWrite::Expired(failure) => self.end_as_failed(&on, end, (failure, true)),
            CallWrite::Deferred(written) => self.end_as_deferred(&on, written),
            CallWrite::Nothing => {}
        }
        if let (Some(version), true) = (&end.version, is_done || frees) {
            self.end_key((route, end.number), version, (is_done, frees));
        }
        self.leases.ends.push((end.event, end.epoch, recorded));
        recorded
    }

    /// Frees the key of an event if the end of its call does so, and raises the version of the key
    /// if the call is done.
    fn end_key(
        &mut self,
        (route, event): (&RouteName, EventNumber),
        version: &VersionedEvent,
        (is_done, frees): (bool, bool),
    ) {
        let key = (route.clone(), version.key);
        let stored = self.newest.entry(key).or_default();
        let ended = stored.calling.filter(|_| frees);
        if ended.is_some_and(|(of, _)| of == event) {
            stored.calling = None;
        }
        let done = stored.version.as_ref();
        if is_done && !done.is_some_and(|done| version.version.is_older_than(done)) {
            stored.version = Some(version.version.clone());
        }
    }

    fn end_as_done(&mut self, on: &On, attempt: u32) {
        if let Some(leases) = self.leases.leases.get_mut(on) {
            leases.last_done = attempt;
        }
        self.claims.insert(on.clone(), ClaimState::Done);
        self.ended.insert(on.clone());
        self.forget_losses(on);
        if let Some(retry) = self.retries.remove(on) {
            let receipt = (on.0.clone(), retry.envelope.receipt);
            self.receipts.insert(receipt, "done");
        }
    }

    fn end_as_failed(
        &mut self,
        on: &On,
        end: &CallEnd,
        (failure, is_expired_deferral): (&CallFailure, bool),
    ) {
        self.failures.push((on.1, end.attempt, failure.class));
        self.forget_losses(on);
        let Some(retry) = self.retries.get_mut(on) else {
            return;
        };
        match failure.then {
            Then::Retry { after } => {
                retry.attempt = end.attempt + 1;
                retry.expired = retry.deferred.filter(|_| is_expired_deferral);
                (retry.leased_for, retry.deferred) = (None, None);
                (retry.due, retry.is_queued) = (Instant::now() + after, false);
            }
            Then::Dead { reason } => {
                let receipt = (on.0.clone(), retry.envelope.receipt);
                self.receipts.insert(receipt, "dead");
                self.claims.insert(on.clone(), ClaimState::Dead);
                self.retries.remove(on);
                self.dead
                    .insert(on.clone(), (reason, failure.error.clone()));
            }
        }
    }

    fn end_as_deferred(&mut self, on: &On, written: DeferralWrite) {
        self.forget_losses(on);
        if let Some(retry) = self.retries.get_mut(on) {
            retry.deferred = Some(since(retry.deferred, written));
            retry.leased_for = None;
            (retry.due, retry.is_queued) = (Instant::now() + written.after, false);
        }
    }

    fn forget_losses(&mut self, on: &On) {
        if let Some(leases) = self.leases.leases.get_mut(on) {
            leases.without_outcome = 0;
        }
    }
}
