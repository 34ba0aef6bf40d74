//! Records how external calls ended, in a separate transaction.

use std::collections::{BTreeSet, HashMap};

use hookbox_crash::crash_point;
use hookbox_driver::{
    BreakerState, CallChanges, CallEnd, CallRecorded, CallState, ClaimState, DoneCall, FailedEnd,
    Fault, KeyState, Leases, StoredCall, StoredOutcome, TargetName, TargetState,
};
use hookbox_event::{EventId, EventNumber, KeyDigest, RouteName, Timestamp};
use sqlx::{Error, PgConnection};

use crate::claim_states::LockedClaim;
use crate::ends::DoneEnd;
use crate::leases::StoredLease;
use crate::tx::Tx;
use crate::{attempts, claim_states, claims, fail, leases, newest, receipts, retries, targets};

/// What the store knows about the events of some external calls, and about the target of the calls.
struct Stored {
    claims: HashMap<EventId, LockedClaim>,
    waiting: HashMap<EventNumber, StoredLease>,
    /// The rows of the table `newest` for the keys of these events. Only events of a route with
    /// `newest` have a key.
    keys: HashMap<KeyDigest, KeyState>,
    target: TargetState,
    now: Timestamp,
}

/// Records how external calls ended, and what this shows about their target; see
/// [`hookbox_driver::Store::end_calls`].
pub(crate) async fn end_calls(
    mut tx: Tx,
    route: &RouteName,
    target: &TargetName,
    ends: &[CallEnd],
    chance: f64,
) -> Result<Vec<CallRecorded>, Fault> {
    let doing = "record how external calls ended";
    let stored = tx
        .run(|c| lock(c, route, target, ends))
        .await
        .map_err(|error| error.ours(doing))?;
    let is_closed = stored.target.breaker(stored.now) == BreakerState::Closed;
    let changes = CallChanges::of(ends, is_closed, |end| stored.call(end));
    tx.run(|c| write(c, route, &changes))
        .await
        .map_err(|error| error.ours(doing))?;
    for failed in &changes.failed {
        tx.run(|c| write_failure(c, route, failed))
            .await
            .map_err(|error| error.ours(doing))?;
    }
    tx.run(|c| note(c, target, &stored, &changes, chance))
        .await
        .map_err(|error| error.ours(doing))?;
    if changes.is_empty() {
        tx.rollback().await;
    } else {
        crash_point!("effect.mid_end");
        tx.commit_ours().await?;
    }
    Ok(changes.recorded)
}

/// Locks the claims and the waiting attempts of the events, and reads the target.
async fn lock(
    c: &mut PgConnection,
    route: &RouteName,
    target: &TargetName,
    ends: &[CallEnd],
) -> Result<Stored, Error> {
    // The events are looked up by their ids and not by their numbers. If the store was restored to
    // an earlier moment since the calls began, a number may now belong to another event.
    let events: Vec<EventId> = ends.iter().map(|end| end.event).collect();
    let claims = claim_states::lock(c, route, &events).await?;
    let versioned = ends.iter().filter_map(|end| end.version.as_ref());
    let keys: BTreeSet<KeyDigest> = versioned.map(|version| version.key).collect();
    let keys: Vec<KeyDigest> = keys.into_iter().collect();
    let mut states = HashMap::new();
    if !keys.is_empty() {
        newest::lock(c, route, &keys).await?;
        // This must be a separate statement, because a newer version may have been stored while
        // this transaction waited for the locks.
        states = newest::states(c, route, &keys).await?;
    }
    let retrying = claims.iter().filter(|it| it.state == ClaimState::Retrying);
    let retrying: Vec<EventNumber> = retrying.map(|it| it.number).collect();
    let waiting = leases::stored(c, route, &retrying).await?;
    let (target, now) = targets::read(c, target).await?;
    Ok(Stored {
        claims: claims.into_iter().map(|it| (it.event, it)).collect(),
        waiting: waiting.into_iter().map(|it| (it.event, it)).collect(),
        keys: states,
        target,
        now,
    })
}

impl Stored {
    /// Returns what the store knows about the event of a call; `None` when the event has no claim
    /// on the route.
    fn call(&self, end: &CallEnd) -> Option<StoredCall<'_>> {
        let claim = self.claims.get(&end.event)?;
        let waiting = self.waiting.get(&claim.number);
        let version = end.version.as_ref();
        // An event that has ended waits for no attempt, so only the number of its last lease is
        // known.
        let ended = Leases {
            epoch: claim.epoch,
            ..Leases::default()
        };
        Some(StoredCall {
            event: claim.number,
            state: CallState {
                claim: Some(claim.state),
                waiting: waiting.map(|waiting| waiting.waiting),
                leases: waiting.map_or(ended, |waiting| waiting.leases),
            },
            deferred: waiting.and_then(|waiting| waiting.deferred),
            key: version.and_then(|version| self.keys.get(&version.key)),
        })
    }
}

/// Writes the rows of the calls that succeeded and of those that are deferred.
async fn write(
    c: &mut PgConnection,
    route: &RouteName,
    changes: &CallChanges<'_>,
) -> Result<(), Error> {
    if !changes.done.is_empty() {
        let done = &changes.done;
        let events: Vec<EventNumber> = done.iter().map(|call| call.event).collect();
        let attempt = |call: &DoneCall| (call.event, call.attempt, call.took);
        let attempts: Vec<_> = done.iter().map(attempt).collect();
        let end = |call: &DoneCall| DoneEnd {
            event: call.event,
            round: call.round,
            attempts: call.attempt,
        };
        let ends: Vec<DoneEnd> = done.iter().map(end).collect();
        leases::end_done(c, route, &ends).await?;
        retries::delete(c, route, &events).await?;
        receipts::update_outcome(c, route, &events, StoredOutcome::Done).await?;
        attempts::insert_done(c, route, &attempts).await?;
    }
    let raised = changes.versions.raised();
    if !raised.is_empty() {
        newest::raise(c, route, &raised).await?;
    }
    let freed = changes.versions.freed();
    if !freed.is_empty() {
        newest::free(c, route, freed).await?;
    }
    if !changes.deferred.is_empty() {
        leases::end_deferred(c, route, &changes.deferred).await?;
    }
    Ok(())
}

/// Writes the rows of one failed call.
async fn write_failure(
    c: &mut PgConnection,
    route: &RouteName,
    failed: &FailedEnd<'_>,
) -> Result<(), Error> {
    let (event, end, failure) = (failed.event, failed.end, failed.failure);
    let then = failure.then;
    claims::failed_again(c, route, event, then.state(), end.attempt).await?;
    receipts::update_outcome(c, route, &[event], then.outcome()).await?;
    let failed = fail::FailedRun {
        event,
        attempt: end.attempt,
        attempts_before: end.attempts_before,
        class: failure.class,
        error: &failure.error,
        took: end.took,
        then,
        is_expired_deferral: failed.is_expired_deferral,
    };
    fail::record_run(c, route, &failed).await
}

/// Updates the row of the target after calls have ended. Locks the row only if it has to change.
/// The ends of most calls change nothing in it, so transactions for the same target seldom wait for
/// each other.
async fn note(
    c: &mut PgConnection,
    target: &TargetName,
    stored: &Stored,
    changes: &CallChanges<'_>,
    chance: f64,
) -> Result<(), Error> {
    let (answers, error) = (&changes.answers, changes.target_error);
    let mut unlocked = stored.target;
    unlocked.note(stored.now, answers, chance);
    if unlocked == stored.target && error.is_none() {
        return Ok(());
    }
    let mut state = targets::lock(c, target).await?;
    state.note(stored.now, answers, chance);
    targets::put(c, target, &state).await?;
    if let Some(error) = error {
        targets::put_error(c, target, error, stored.now).await?;
    }
    Ok(())
}
