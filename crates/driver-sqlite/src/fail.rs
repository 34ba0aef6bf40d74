//! Records a failed attempt together with the retry or dead letter that follows from it, and stores
//! undecodable bytes. Each is a separate transaction.

use std::time::Duration;

use hookbox_driver::{
    ClaimState, FailedAttempt, Failure, FailureClass, Recorded, Then, UndecodableMessage,
    round_after,
};
use hookbox_event::{EventNumber, RouteName};
use sqlx::sqlite::SqliteConnection;

use crate::claim_states::{self, StoredClaim};
use crate::dead_letters::{self, NewDeadLetter};
use crate::receipts::{self, OutcomeRow};
use crate::retries::{self, NewRetry};
use crate::{attempts, claims, events, moment};

/// Records one failed attempt, unless it was recorded before or the state of the event has changed
/// since the claim; see [`hookbox_driver::Store::fail`].
pub(crate) async fn fail(
    connection: &mut SqliteConnection,
    failure: &Failure<'_>,
) -> sqlx::Result<Recorded> {
    let (route, envelope) = (failure.route, failure.envelope);
    let known = claim_states::look_up(connection, route, [&envelope.event]).await?;
    let stored = StoredClaim::state(known.get(&envelope.event), envelope);
    let Some(failed) = failure.recorded_on(stored) else {
        return Ok(Recorded::Superseded);
    };
    record(connection, failure, failed).await?;
    Ok(Recorded::Recorded)
}

/// Writes the attempt, and the retry or dead letter that follows it.
async fn record(
    connection: &mut SqliteConnection,
    failure: &Failure<'_>,
    FailedAttempt { attempt, then }: FailedAttempt,
) -> sqlx::Result<()> {
    let (route, envelope) = (failure.route, failure.envelope);
    let now = moment::now();
    let event = events::insert_one(connection, envelope, now).await?;
    let word = then.outcome();
    claims::put(connection, route, event, then.state(), attempt, now).await?;
    let receipt = OutcomeRow {
        envelope,
        event,
        word,
        other_digest: failure.other_digest,
    };
    receipts::insert(connection, route, &[receipt], now).await?;
    receipts::update_outcome(connection, route, &[event], word, now).await?;
    let failed = FailedRun {
        event,
        attempt,
        attempts_before: failure.attempts_before,
        class: failure.class,
        error: &failure.error,
        took: failure.took,
        then,
        is_expired_deferral: failure.is_expired_deferral,
    };
    record_run(connection, route, &failed, now).await
}

/// A failed attempt whose claim and receipts are already written.
pub(crate) struct FailedRun<'a> {
    pub(crate) event: EventNumber,
    pub(crate) attempt: u32,
    pub(crate) attempts_before: u32,
    pub(crate) class: FailureClass,
    pub(crate) error: &'a str,
    pub(crate) took: Duration,
    pub(crate) then: Then,
    pub(crate) is_expired_deferral: bool,
}

/// Stores bytes that are not an envelope as a dead letter; see
/// [`hookbox_driver::Store::store_undecodable`].
pub(crate) async fn store_undecodable(
    connection: &mut SqliteConnection,
    undecodable: &UndecodableMessage<'_>,
) -> sqlx::Result<Recorded> {
    let event = undecodable.event;
    let route = undecodable.route;
    let known = claim_states::look_up(connection, route, [&event]).await?;
    if known.get(&event).is_some_and(|known| known.claim.is_some()) {
        return Ok(Recorded::Superseded);
    }
    let now = moment::now();
    let event = events::insert_undecodable(connection, undecodable, now).await?;
    claims::put(connection, route, event, ClaimState::Dead, 0, now).await?;
    let death = NewDeadLetter {
        event,
        reason: undecodable.reason,
        detail: &undecodable.detail,
        attempts: 0,
        round: round_after(0),
    };
    dead_letters::put(connection, route, &[death], now).await?;
    Ok(Recorded::Recorded)
}

/// Writes the row of a failed attempt, and the retry or dead letter that follows from it.
pub(crate) async fn record_run(
    connection: &mut SqliteConnection,
    route: &RouteName,
    failed: &FailedRun<'_>,
    now: i64,
) -> sqlx::Result<()> {
    let (event, attempt) = (failed.event, failed.attempt);
    let (of, class) = ((route, event, attempt), failed.class.as_str());
    attempts::insert_failed(connection, of, class, failed.error, failed.took, now).await?;
    match failed.then {
        Then::Retry { after } => {
            let waiting = NewRetry {
                route,
                event,
                attempt: attempt.saturating_add(1),
                attempts_before: failed.attempts_before,
                not_before: moment::in_(after),
                is_deferral_kept: failed.is_expired_deferral,
            };
            retries::put(connection, &waiting).await
        }
        Then::Dead { reason } => {
            retries::delete(connection, route, &[event]).await?;
            let death = NewDeadLetter {
                event,
                reason,
                detail: failed.error,
                attempts: attempt,
                round: round_after(failed.attempts_before),
            };
            dead_letters::put(connection, route, &[death], now).await
        }
    }
}
