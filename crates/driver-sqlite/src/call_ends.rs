//! Records how external calls ended, in a transaction of its own.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{
    BreakerState, CallEnd, CallFailure, CallRecorded, CallState, CallWrite, ClaimState, EndOutcome,
    KeyState, StoredOutcome, TargetName, TargetState, VersionChanges, round_after,
};
use hookbox_event::{EventId, EventNumber, KeyDigest, RouteName, Timestamp};
use sqlx::sqlite::SqliteConnection;

use crate::claim_states::StoredClaim;
use crate::ends::{self, NewEnd};
use crate::leases::{DeferredCall, StoredLease};
use crate::{
    attempts, claim_states, claims, fail, leases, moment, newest, receipts, retries, targets,
};

/// What is stored of the events of some calls, and of the target of these calls.
struct Stored {
    claims: HashMap<EventId, StoredClaim>,
    waiting: HashMap<EventNumber, StoredLease>,
    /// The keys of the events that have one.
    keys: HashMap<KeyDigest, KeyState>,
    target: TargetState,
    now: Timestamp,
}

/// The rows to write, as they follow from the ends of calls.
#[derive(Default)]
struct Consequences<'a> {
    /// The events that are done, the number of the attempt, and the duration of the call.
    done: Vec<(EventNumber, u32, Duration)>,
    /// The ends of these events.
    ended: Vec<NewEnd>,
    failed: Vec<(EventNumber, &'a CallEnd, &'a CallFailure)>,
    deferred: Vec<DeferredCall>,
    versions: VersionChanges<'a>,
}

/// Records the ends of calls, and takes note of what they show about the target.
pub(crate) async fn end_calls(
    connection: &mut SqliteConnection,
    route: &RouteName,
    target: &TargetName,
    ends: &[CallEnd],
    chance: f64,
) -> sqlx::Result<Vec<CallRecorded>> {
    let stored = look_up(connection, route, target, ends).await?;
    let (recorded, consequences) = stored.sort(ends);
    write(connection, route, &consequences).await?;
    for (event, end, failure) in &consequences.failed {
        write_failure(connection, route, *event, end, failure).await?;
    }
    let answers: Vec<_> = ends.iter().map(|end| (end.number, end.answer)).collect();
    let mut state = stored.target;
    state.note(stored.now, &answers, chance);
    let error = CallEnd::last_target_error(ends);
    if state != stored.target || error.is_some() {
        targets::put(connection, target, &state).await?;
    }
    if let Some(error) = error {
        targets::put_error(connection, target, error, stored.now).await?;
    }
    crash_point!("effect.mid_end");
    Ok(recorded)
}

/// Reads the claims and the waiting attempts of the events, and the target.
async fn look_up(
    connection: &mut SqliteConnection,
    route: &RouteName,
    target: &TargetName,
    ends: &[CallEnd],
) -> sqlx::Result<Stored> {
    let now = moment::now();
    // The events are found by their ids, because a store that was restored to an earlier moment
    // may have given the number of one of them to another event.
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
    /// Returns what is recorded of each end, in the order given, and what is to be written.
    fn sort<'a>(&self, ends: &'a [CallEnd]) -> (Vec<CallRecorded>, Consequences<'a>) {
        let is_closed = self.target.breaker(self.now) == BreakerState::Closed;
        let mut recorded = Vec::with_capacity(ends.len());
        let mut consequences = Consequences::default();
        for end in ends {
            let claim = self.claims.get(&end.event);
            let waiting = claim.and_then(|claim| self.waiting.get(&claim.number));
            let stored = CallState {
                claim: claim.and_then(|claim| claim.claim).map(|(state, _)| state),
                waiting: waiting.map(|waiting| waiting.waiting),
                leases: waiting.map(|waiting| waiting.leases).unwrap_or_default(),
            };
            let deferred = waiting.and_then(|waiting| waiting.deferred);
            let written = end.written_on(stored, deferred, is_closed);
            recorded.push(written.recorded());
            if let Some(claim) = claim {
                consequences.push(claim.number, end, written);
                if let Some(version) = &end.version {
                    let key = self.keys.get(&version.key);
                    let is_newest = end.is_of_newest_call(stored);
                    let versions = &mut consequences.versions;
                    versions.add_call(claim.number, version, key, written, is_newest);
                }
            }
        }
        (recorded, consequences)
    }
}

impl<'a> Consequences<'a> {
    fn push(&mut self, event: EventNumber, end: &'a CallEnd, written: CallWrite<'a>) {
        match written {
            CallWrite::Done { attempt } => {
                self.done.push((event, attempt, end.took));
                self.ended.push(NewEnd {
                    event,
                    outcome: EndOutcome::Done,
                    round: round_after(end.attempts_before),
                    attempts: attempt,
                });
            }
            CallWrite::Failed(failure) => self.failed.push((event, end, failure)),
            CallWrite::Deferred { reason, after } => self.deferred.push(DeferredCall {
                event,
                reason,
                not_before: moment::in_(after),
            }),
            CallWrite::Nothing => {}
        }
    }
}

/// Writes the rows of the calls that succeeded and of those that are deferred.
async fn write(
    connection: &mut SqliteConnection,
    route: &RouteName,
    consequences: &Consequences<'_>,
) -> sqlx::Result<()> {
    let now = moment::now();
    if !consequences.done.is_empty() {
        let done = &consequences.done;
        let events: Vec<EventNumber> = done.iter().map(|(event, ..)| *event).collect();
        leases::end_done(connection, route, done, now).await?;
        let ended = consequences.ended.iter().copied();
        ends::insert(connection, route, ended, now).await?;
        retries::delete(connection, route, &events).await?;
        receipts::update_outcome(connection, route, &events, StoredOutcome::Done, now).await?;
        attempts::insert_done(connection, route, done, now).await?;
    }
    newest::raise(connection, route, &consequences.versions.raised(), now).await?;
    newest::free(connection, route, consequences.versions.freed()).await?;
    if !consequences.deferred.is_empty() {
        leases::end_deferred(connection, route, &consequences.deferred, now).await?;
    }
    Ok(())
}

/// Writes the rows of one failed call.
async fn write_failure(
    connection: &mut SqliteConnection,
    route: &RouteName,
    event: EventNumber,
    end: &CallEnd,
    failure: &CallFailure,
) -> sqlx::Result<()> {
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
    };
    fail::record_run(connection, route, &failed, now).await
}
