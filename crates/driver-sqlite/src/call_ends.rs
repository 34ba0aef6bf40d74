//! Records how external calls ended, in a separate transaction.

use std::collections::{BTreeSet, HashMap};

use hookbox_crash::crash_point;
use hookbox_driver::{
    BreakerState, CallChanges, CallEnd, CallRecorded, CallState, ClaimState, DoneCall, EndOutcome,
    FailedEnd, KeyState, Leases, StoredCall, StoredOutcome, TargetName, TargetState,
};
use hookbox_event::{EventId, EventNumber, KeyDigest, RouteName, Timestamp};
use sqlx::sqlite::SqliteConnection;

use crate::claim_states::StoredClaim;
use crate::ends::{self, NewEnd};
use crate::leases::StoredLease;
use crate::{
    attempts, claim_states, claims, fail, leases, moment, newest, receipts, retries, targets,
};

/// What the store knows about the events of some external calls, and about the target of the calls.
struct Stored {
    claims: HashMap<EventId, StoredClaim>,
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
    connection: &mut SqliteConnection,
    route: &RouteName,
    target: &TargetName,
    ends: &[CallEnd],
    chance: f64,
) -> sqlx::Result<Vec<CallRecorded>> {
    let stored = look_up(connection, route, target, ends).await?;
    let is_closed = stored.target.breaker(stored.now) == BreakerState::Closed;
    let changes = CallChanges::of(ends, is_closed, |end| stored.call(end));
    write(connection, route, &changes).await?;
    for failed in &changes.failed {
        write_failure(connection, route, failed).await?;
    }
    let (answers, error) = (&changes.answers, changes.target_error);
    let mut state = stored.target;
    state.note(stored.now, answers, chance);
    if state != stored.target || error.is_some() {
        targets::put(connection, target, &state).await?;
    }
    if let Some(error) = error {
        targets::put_error(connection, target, error, stored.now).await?;
    }
    crash_point!("effect.mid_end");
    Ok(changes.recorded)
}

/// Reads the claims and the waiting attempts of the events, and the target.
async fn look_up(
    connection: &mut SqliteConnection,
    route: &RouteName,
    target: &TargetName,
    ends: &[CallEnd],
) -> sqlx::Result<Stored> {
    let now = moment::now();
    // The events are looked up by their ids and not by their numbers. If the store was restored to
    // an earlier moment since the calls began, a number may now belong to another event.
    let events = ends.iter().map(|end| &end.event);
    let claims = claim_states::look_up(connection, route, events).await?;
    let is_retrying = |claim: &&StoredClaim| {
        let state = claim.claim.map(|(state, _)| state);
        state == Some(ClaimState::Retrying)
    };
    let retrying = claims.values().filter(is_retrying);
    let retrying: Vec<EventNumber> = retrying.map(|claim| claim.number).collect();
    let waiting = leases::stored(connection, route, &retrying, now).await?;
    let versioned = ends.iter().filter_map(|end| end.version.as_ref());
    let keys: BTreeSet<KeyDigest> = versioned.map(|version| version.key).collect();
    let keys: Vec<KeyDigest> = keys.into_iter().collect();
    let mut states = HashMap::new();
    if !keys.is_empty() {
        states = newest::states(connection, route, &keys, now).await?;
    }
    Ok(Stored {
        claims,
        waiting: waiting.into_iter().map(|it| (it.event, it)).collect(),
        keys: states,
        target: targets::read(connection, target).await?,
        now: Timestamp::from_unix_micros(now),
    })
}

impl Stored {
    /// Returns what the store knows about the event of a call; `None` when the event is not stored.
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
                claim: claim.claim.map(|(state, _)| state),
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
    connection: &mut SqliteConnection,
    route: &RouteName,
    changes: &CallChanges<'_>,
) -> sqlx::Result<()> {
    let now = moment::now();
    if !changes.done.is_empty() {
        let done = &changes.done;
        let events: Vec<EventNumber> = done.iter().map(|call| call.event).collect();
        let attempt = |call: &DoneCall| (call.event, call.attempt, call.took);
        let attempts: Vec<_> = done.iter().map(attempt).collect();
        let end = |call: &DoneCall| NewEnd {
            event: call.event,
            outcome: EndOutcome::Done,
            round: call.round,
            attempts: call.attempt,
        };
        let ends: Vec<NewEnd> = done.iter().map(end).collect();
        leases::end_done(connection, route, &attempts, now).await?;
        ends::insert(connection, route, ends, now).await?;
        retries::delete(connection, route, &events).await?;
        receipts::update_outcome(connection, route, &events, StoredOutcome::Done, now).await?;
        attempts::insert_done(connection, route, &attempts, now).await?;
    }
    newest::raise(connection, route, &changes.versions.raised(), now).await?;
    newest::free(connection, route, changes.versions.freed()).await?;
    if !changes.deferred.is_empty() {
        leases::end_deferred(connection, route, &changes.deferred, now).await?;
    }
    Ok(())
}

/// Writes the rows of one failed call.
async fn write_failure(
    connection: &mut SqliteConnection,
    route: &RouteName,
    failed: &FailedEnd<'_>,
) -> sqlx::Result<()> {
    let (event, end, failure) = (failed.event, failed.end, failed.failure);
    let (then, now) = (failure.then, moment::now());
    claims::put(connection, route, event, then.state(), end.attempt, now).await?;
    receipts::update_outcome(connection, route, &[event], then.outcome(), now).await?;
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
    fail::record_run(connection, route, &failed, now).await
}
