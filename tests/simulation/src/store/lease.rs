//! Stores the leases of external calls, and records how the calls ended.

use std::time::Duration;

use hookbox_driver::{
    BreakerState, CallEnd, CallRecorded, CallState, CallWrite, ClaimState, CommitError, Fault,
    FaultKind, LeaseClaim, LeaseTerms, LeaseWish, Leased, TargetName, Then, frees_key,
    granted_leases,
};
use hookbox_event::RouteName;

use super::record::record_attempt;
use super::savepoint::check;
use crate::leases::{NewLease, clock};
use crate::on_route::OnRoute;
use crate::retry_leases::RetryLeases;
use crate::tables::{Claim, Key, StoredOutcome, Tables};
use crate::tx::SimTx;

/// Turns claims of the transaction into leases. No other transaction gets a lease for the same
/// target until this one ends.
pub(super) async fn lease(
    tx: &mut SimTx,
    route: &RouteName,
    terms: LeaseTerms<'_>,
    wishes: &[LeaseWish<'_>],
) -> Result<Vec<Leased>, CommitError> {
    check(tx, "lease").await?;
    tx.lock(Key::Target(terms.target.clone()), |_| true).await?;
    let (mut state, in_flight, claims, now) = {
        let world = &tx.process.world;
        let now = world.elapsed();
        let shared = world.state();
        let tables = &shared.tables;
        let claim = |wish: &LeaseWish<'_>| {
            let (waiting, leases) = tables.waiting(&(route.clone(), wish.envelope.event), now);
            LeaseClaim {
                attempt: wish.attempt,
                waiting,
                leases,
            }
        };
        let claims: Vec<LeaseClaim> = wishes.iter().map(claim).collect();
        let stored = tables.targets.get(terms.target).copied();
        let in_flight = tables.in_flight(terms.target, now);
        (stored.unwrap_or_default(), in_flight, claims, now)
    };
    let allotted = terms.allot(&mut state, clock(now), in_flight, &claims);
    tx.target = Some((terms.target.clone(), state));
    for (wish, leases) in granted_leases(wishes, &allotted) {
        let on = (route.clone(), wish.envelope.event);
        if tx.owned.remove(&on).is_none() {
            let doing = "lease an event: the transaction has not claimed the event";
            return Err(Fault::plain(FaultKind::Internal, doing).into());
        }
        let version = tx.versions.iter().find(|it| it.event == on.1);
        let key = version.map(|version| version.key);
        tx.leases.push(NewLease {
            key,
            on,
            envelope: wish.envelope.clone(),
            other_digest: wish.other_digest,
            attempt: wish.attempt,
            before: wish.attempts_before,
            leases,
            target: terms.target.clone(),
            not_before: now + terms.length,
        });
    }
    Ok(allotted.into_iter().map(|(leased, _)| leased).collect())
}

/// Returns the keys of the rows that must be locked before the ends of these calls are recorded.
pub(super) fn keys(route: &RouteName, target: &TargetName, ends: &[CallEnd]) -> Vec<Key> {
    let claim = |end: &CallEnd| Key::Claim(route.clone(), end.event);
    let retry = |end: &CallEnd| Key::Retry(route.clone(), end.event);
    let mut keys: Vec<Key> = ends.iter().map(claim).collect();
    keys.extend(ends.iter().map(retry));
    let versions = ends.iter().filter_map(|end| end.version.as_ref());
    keys.extend(versions.map(|it| Key::Newest(route.clone(), it.key)));
    keys.push(Key::Target(target.clone()));
    keys
}

/// Records how calls ended, and what this shows about their target.
pub(super) fn end(
    tables: &mut Tables,
    (route, target): (&RouteName, &TargetName),
    ends: &[CallEnd],
    chance: f64,
    now: Duration,
) -> Vec<CallRecorded> {
    let mut state = tables.targets.get(target).copied().unwrap_or_default();
    let is_closed = state.breaker(clock(now)) == BreakerState::Closed;
    let (mut recorded, mut answers) = (Vec::new(), Vec::new());
    for end in ends {
        let on = (route.clone(), end.event);
        let (waiting, leases) = tables.waiting(&on, now);
        let stored = CallState {
            claim: tables.claim(&on).map(|claim| claim.state),
            waiting,
            leases,
        };
        // The simulated store does not record since when an event is deferred. The conformance
        // cases test that with the real drivers.
        let written = end.written_on(stored, None, is_closed);
        let end_of = written.recorded();
        recorded.push(end_of);
        if end_of != CallRecorded::Superseded {
            answers.push((end.number, end.answer));
        }
        let is_done = matches!(end_of, CallRecorded::Done { .. });
        let frees = frees_key(end, stored);
        if let Some(version) = &end.version
            && (is_done || frees)
        {
            tables.newest.end_call(route, version, (is_done, frees));
        }
        write(tables, on, end, written, now);
    }
    state.note(clock(now), &answers, chance);
    let is_opened = is_closed && state.breaker(clock(now)) == BreakerState::Open;
    tables.calls.openings += u64::from(is_opened);
    tables.targets.insert(target.clone(), state);
    recorded
}

fn write(tables: &mut Tables, on: OnRoute, end: &CallEnd, written: CallWrite<'_>, now: Duration) {
    match written {
        CallWrite::Done { attempt } => {
            let state = ClaimState::Done;
            let attempts = attempt;
            tables.last_done.insert(on.clone(), attempt);
            tables
                .calls
                .done(&on, end.attempts_before.saturating_add(1));
            tables.claims.insert(on.clone(), Claim { state, attempts });
            tables.retries.remove(&on);
            tables.update_outcome(&on.0, &on.1, StoredOutcome::Done);
        }
        CallWrite::Failed(failure) | CallWrite::Expired(failure) => {
            let (state, word) = match failure.then {
                Then::Retry { .. } => (ClaimState::Retrying, StoredOutcome::Retrying),
                Then::Dead { .. } => (ClaimState::Dead, StoredOutcome::Dead),
            };
            let attempts = end.attempt;
            tables.claims.insert(on.clone(), Claim { state, attempts });
            tables.update_outcome(&on.0, &on.1, word);
            let of = (end.attempt, end.attempts_before);
            record_attempt(tables, on, of, (failure.class, failure.then), now);
        }
        CallWrite::Deferred(written) => {
            if let Some(retry) = tables.retries.get_mut(&on) {
                retry.not_before = now + written.after;
                retry.queued_at = None;
                retry.deferred = Some(written.reason);
                retry.leases = RetryLeases::default();
            }
        }
        CallWrite::Nothing => {}
    }
}
