//! Records a failed attempt together with the retry or dead letter that follows, and stores
//! undecodable bytes. Each of these is a transaction of its own.

use hookbox_driver::{ClaimState, DeadReason, Failure, Recorded, Then, UndecodableMessage};
use hookbox_event::EventId;
use sqlx::sqlite::SqliteConnection;

use crate::attempts::{self, Made};
use crate::dead_letters::{self, Death};
use crate::events::{self, StoredClaim};
use crate::receipts::{self, OutcomeRow, StoredOutcome};
use crate::retries::{self, NewRetry};
use crate::{claims, moment};

/// Records one failed attempt, unless it was recorded before or the state of the event has changed
/// since the claim.
pub(crate) async fn fail(
    connection: &mut SqliteConnection,
    failure: &Failure<'_>,
) -> sqlx::Result<Recorded> {
    let (route, envelope) = (failure.route, failure.envelope);
    let known = events::known(connection, route, [&envelope.event]).await?;
    let known = known.get(&envelope.event);
    if envelope.redo.is_none() && known.is_some_and(|known| known.digest != envelope.digest) {
        // While the attempt ran, another body was stored for this event. The next claim of this
        // receipt decides, by the config of the source, whether the receipt is a conflict or a
        // duplicate.
        return Ok(Recorded::Superseded);
    }
    let Some(run) = run_of(known, failure) else {
        return Ok(Recorded::Superseded);
    };
    let word = match run.then {
        Then::Retry { .. } => StoredOutcome::Retrying,
        Then::Dead { .. } => StoredOutcome::Dead,
    };
    record(connection, failure, &run, word).await?;
    Ok(Recorded::Recorded)
}

/// Writes the attempt, and the retry or dead letter that follows it.
async fn record(
    connection: &mut SqliteConnection,
    failure: &Failure<'_>,
    run: &Run,
    word: StoredOutcome,
) -> sqlx::Result<()> {
    let (route, envelope) = (failure.route, failure.envelope);
    let event = &envelope.event;
    let now = moment::now();
    events::keep(connection, &[envelope], now).await?;
    let state = match run.then {
        Then::Retry { .. } => ClaimState::Retrying,
        Then::Dead { .. } => ClaimState::Dead,
    };
    claims::put(connection, route, event, state, run.attempt, now).await?;
    let receipt = OutcomeRow {
        envelope,
        word,
        other_digest: failure.other_digest,
    };
    receipts::keep(connection, route, &[receipt], now).await?;
    receipts::update_outcome(connection, route, event, word, now).await?;
    let made = Made {
        route,
        event,
        attempt: run.attempt,
        outcome: failure.class.as_str(),
        error: Some(&failure.error),
        took: failure.took,
    };
    attempts::keep(connection, &made, now).await?;
    match run.then {
        Then::Retry { after } => {
            let waiting = NewRetry {
                route,
                event,
                attempt: run.attempt.saturating_add(1),
                attempts_before: failure.attempts_before,
                not_before: moment::in_(after),
            };
            retries::put(connection, &waiting).await
        }
        Then::Dead { reason } => {
            retries::end(connection, route, event).await?;
            let death = Death {
                route,
                event,
                reason,
                detail: &failure.error,
                attempts: run.attempt,
            };
            dead_letters::put(connection, &death, now).await
        }
    }
}

/// The attempt to be recorded, and whether a retry or a dead letter follows it.
struct Run {
    attempt: u32,
    then: Then,
}

/// Returns the attempt to be recorded; `None` when the failure must change nothing.
fn run_of(known: Option<&StoredClaim>, failure: &Failure<'_>) -> Option<Run> {
    let as_said = Run {
        attempt: failure.attempt,
        then: failure.then,
    };
    let Some((state, attempts)) = known.and_then(|known| known.claim) else {
        return Some(as_said);
    };
    match state {
        // A handler has ended its own transaction, which committed this claim and the handler's
        // effects. So the handler must not run again, whatever `failure` asks for: the event
        // becomes a dead letter, and its reason warns the operator before a replay. The stored
        // number of attempts does not include this run, so one is added.
        ClaimState::Running => Some(Run {
            attempt: attempts.saturating_add(1),
            then: Then::Dead {
                reason: DeadReason::Orphaned,
            },
        }),
        // A waiting event changes only when the attempt fails for which it waits.
        ClaimState::Retrying => {
            let waits_for = known
                .and_then(|known| known.retry)
                .map(|retry| retry.attempt);
            let fenced = failure.envelope.redo.is_some() && waits_for == Some(failure.attempt);
            fenced.then_some(as_said)
        }
        ClaimState::Done | ClaimState::Dead => None,
    }
}

/// Stores bytes that are not an envelope as a dead letter.
pub(crate) async fn store_undecodable(
    connection: &mut SqliteConnection,
    undecodable: &UndecodableMessage<'_>,
) -> sqlx::Result<Recorded> {
    let event = EventId::of_undecodable(undecodable.bytes);
    let route = undecodable.route;
    let known = events::known(connection, route, [&event]).await?;
    if known.get(&event).is_some_and(|known| known.claim.is_some()) {
        return Ok(Recorded::Superseded);
    }
    let now = moment::now();
    events::keep_undecodable(connection, &event, undecodable.bytes, now).await?;
    claims::put(connection, route, &event, ClaimState::Dead, 0, now).await?;
    let death = Death {
        route,
        event: &event,
        reason: undecodable.reason,
        detail: &undecodable.detail,
        attempts: 0,
    };
    dead_letters::put(connection, &death, now).await?;
    Ok(Recorded::Recorded)
}
