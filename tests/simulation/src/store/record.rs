//! Records a failure, a deferral, a start or undecodable bytes in a separate transaction, as the
//! drivers do.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{
    ClaimState, CountedStart, DeadReason, Deferral, Deferred, Failure, FailureClass,
    Fault as OurFault, Recorded, Start, StartKind, Then, UndecodableMessage,
};
use hookbox_event::{InstanceId, RouteName};

use crate::fault::Fault;
use crate::on_route::OnRoute;
use crate::retry_leases::RetryLeases;
use crate::tables::{Claim, EventKept, Key, Retry, StoredOutcome, Tables};
use crate::tx::{SimTx, wait_for};
use crate::unavailable::unavailable;

/// Runs a change in one transaction. When this function returns an error, the change may have been
/// committed nevertheless.
pub(super) async fn in_transaction<T: Debug + Send>(
    mut tx: SimTx,
    keys: &[Key],
    change: impl FnOnce(&mut Tables, Duration) -> T + Send,
) -> Result<T, OurFault> {
    let process = Arc::clone(&tx.process);
    let world = &process.world;
    tx.statement("record").await?;
    let aborted = world.strikes(Fault::AbortedUnknown, &process.name);
    if aborted {
        return Err(unavailable("commit a record: the store gave no answer"));
    }
    let now = world.elapsed();
    let recorded = wait_for(world, tx.id, keys, |tables| change(tables, now)).await?;
    world.note(&format!("{}: {}: {recorded:?}", process.name, tx.doing));
    tx.ended = true;
    world.abort(tx.id);
    let unknown = world.strikes(Fault::RecordedUnknown, &process.name);
    process.step("recorded").await;
    if unknown {
        return Err(unavailable("commit a record: the store gave no answer"));
    }
    Ok(recorded)
}

pub(super) fn fail(tables: &mut Tables, failure: &Failure<'_>, now: Duration) -> Recorded {
    let envelope = failure.envelope;
    let on = (failure.route.clone(), envelope.event);
    let mut then = failure.then;
    let claim = tables.claim(&on);
    if failure.attempt == 1 && claim.is_none() {
        tables.keep_event(envelope);
        let same = |it: &EventKept| it.digest == envelope.digest;
        if !tables.events.get(&envelope.event).is_some_and(same) {
            return Recorded::Superseded;
        }
        return record_consequences(tables, failure, then, now);
    }
    match claim.map(|it| it.state) {
        Some(ClaimState::Running) => {
            let kept = tables.events.get(&envelope.event);
            if kept.is_some_and(|it| it.digest != envelope.digest) {
                return Recorded::Superseded;
            }
            let reason = DeadReason::Orphaned;
            then = Then::Dead { reason };
        }
        Some(ClaimState::Retrying) if envelope.redo.is_some() => {
            let waiting = tables.retries.get(&on).filter(|it| !it.is_leased(now));
            if waiting.map(|it| it.attempt) != Some(failure.attempt) {
                return Recorded::Superseded;
            }
        }
        Some(ClaimState::Retrying | ClaimState::Done | ClaimState::Dead | ClaimState::Stale)
        | None => return Recorded::Superseded,
    }
    record_consequences(tables, failure, then, now)
}

fn record_consequences(
    tables: &mut Tables,
    failure: &Failure<'_>,
    then: Then,
    now: Duration,
) -> Recorded {
    let (route, envelope, attempt) = (failure.route, failure.envelope, failure.attempt);
    let on = (route.clone(), envelope.event);
    let (state, word) = match then {
        Then::Retry { .. } => (ClaimState::Retrying, StoredOutcome::Retrying),
        Then::Dead { .. } => (ClaimState::Dead, StoredOutcome::Dead),
    };
    let attempts = attempt;
    tables.claims.insert(on.clone(), Claim { state, attempts });
    tables.update_outcome(route, &envelope.event, word);
    tables.put_receipt(route, envelope, word, failure.other_digest);
    let attempts = (attempt, failure.attempts_before);
    record_attempt(tables, on, attempts, (failure.class, then), now);
    Recorded::Recorded
}

/// Records a failed attempt, and the retry or dead letter that follows from it. The claim and the
/// receipts of the event are already written.
pub(super) fn record_attempt(
    tables: &mut Tables,
    on: OnRoute,
    (attempt, before): (u32, u32),
    (class, then): (FailureClass, Then),
    now: Duration,
) {
    let failed = (on.0.clone(), on.1, attempt);
    tables.failures.entry(failed).or_insert(class.as_str());
    match then {
        Then::Retry { after } => {
            let retry = Retry {
                attempt: attempt + 1,
                before,
                not_before: now + after,
                queued_at: None,
                deferred: None,
                leases: RetryLeases::default(),
            };
            tables.retries.insert(on, retry);
        }
        Then::Dead { reason } => {
            tables.retries.remove(&on);
            tables.put_dead(&on, reason, attempt);
        }
    }
}

pub(super) fn defer(tables: &mut Tables, deferral: &Deferral<'_>, now: Duration) -> Deferred {
    let (route, envelope, attempt) = (deferral.route, deferral.envelope, deferral.attempt);
    let on = (route.clone(), envelope.event);
    let claim = tables.claim(&on);
    let waiting = tables.retries.get(&on).cloned();
    match claim.map(|it| it.state) {
        None if attempt == 1 => {
            tables.keep_event(envelope);
            let same = |it: &EventKept| it.digest == envelope.digest;
            if !tables.events.get(&envelope.event).is_some_and(same) {
                return Deferred::Superseded;
            }
        }
        Some(ClaimState::Retrying) if envelope.redo.is_some() => {
            let waits = waiting.as_ref().filter(|it| !it.is_leased(now));
            if waits.map(|it| it.attempt) != Some(attempt) {
                return Deferred::Superseded;
            }
        }
        Some(
            ClaimState::Retrying
            | ClaimState::Running
            | ClaimState::Done
            | ClaimState::Dead
            | ClaimState::Stale,
        )
        | None => return Deferred::Superseded,
    }
    // The simulated store does not record since when an event is deferred. The conformance cases
    // test that with the real drivers.
    let Some(written) = deferral.written_after(None) else {
        return Deferred::Expired;
    };
    let (state, attempts) = (ClaimState::Retrying, attempt.saturating_sub(1));
    tables.claims.insert(on.clone(), Claim { state, attempts });
    tables.update_outcome(route, &envelope.event, StoredOutcome::Retrying);
    tables.put_receipt(
        route,
        envelope,
        StoredOutcome::Retrying,
        deferral.other_digest,
    );
    let retry = Retry {
        attempt,
        before: deferral.attempts_before,
        not_before: now + written.after,
        queued_at: None,
        deferred: Some(written.reason),
        leases: RetryLeases {
            target: None,
            without_outcome: waiting.map_or(0, |it| it.leases.without_outcome),
        },
    };
    tables.retries.insert(on, retry);
    Deferred::Recorded
}

pub(super) fn start(
    tables: &mut Tables,
    name: &str,
    (by, kind): (InstanceId, StartKind),
    route: &RouteName,
    on: &[Start],
) -> Recorded {
    for start in on {
        let key = (route.clone(), *start);
        let counted = tables.starts.entry(key.clone()).or_default();
        // A process that did not receive the reply repeats the call. The repetition is not
        // counted.
        if counted.1 != Some(by) {
            counted.0.count(kind);
            counted.1 = Some(by);
            tables.started(key, name, kind);
        }
    }
    Recorded::Recorded
}

pub(super) fn retract_start(
    tables: &mut Tables,
    name: &str,
    (by, start): (InstanceId, CountedStart),
    (route, of): (&RouteName, Start),
) -> Recorded {
    let key = (route.clone(), of);
    let Some(counted) = tables.starts.get_mut(&key) else {
        return Recorded::Superseded;
    };
    if counted.1 != Some(by) && !start.is_certain {
        return Recorded::Superseded;
    }
    counted.0.retract(start.kind);
    counted.1 = counted.1.filter(|last| *last != by);
    if let Some(starters) = tables.starters.get_mut(&key)
        && let Some(at) = starters.iter().rposition(|it| it.0 == name)
    {
        starters.remove(at);
    }
    Recorded::Recorded
}

pub(super) fn survived(tables: &mut Tables, route: &RouteName, on: &[Start]) -> Recorded {
    for start in on {
        tables.starts.remove(&(route.clone(), *start));
        tables.starters.remove(&(route.clone(), *start));
    }
    Recorded::Recorded
}

pub(super) fn store_undecodable(
    tables: &mut Tables,
    undecodable: &UndecodableMessage<'_>,
) -> Recorded {
    let event = undecodable.event;
    let on = (undecodable.route.clone(), event);
    tables.events.entry(event).or_insert_with(|| EventKept {
        digest: undecodable.digest,
        body: undecodable.bytes.clone(),
        envelope: None,
    });
    if tables.claims.contains_key(&on) {
        return Recorded::Superseded;
    }
    let claim = Claim {
        state: ClaimState::Dead,
        attempts: 0,
    };
    tables.claims.insert(on.clone(), claim);
    tables.put_dead(&on, undecodable.reason, 0);
    Recorded::Recorded
}
