//! Records a failed attempt together with the retry or dead letter that follows from it, and stores
//! undecodable bytes. Each is a separate transaction.

use std::time::Duration;

use hookbox_driver::{
    FailedAttempt, Failure, FailureClass, Fault, Recorded, Then, UndecodableMessage, round_after,
};
use hookbox_event::{EventNumber, RouteName};
use sqlx::{Error, PgConnection};

use crate::dead_letters::{self, NewDeadLetter};
use crate::receipts;
use crate::tx::Tx;
use crate::{attempts, claim_states, claims, events, retries};

/// Records one failed attempt, unless it was recorded before or the state of the event has changed
/// since the claim; see [`hookbox_driver::Store::fail`].
pub(crate) async fn fail(mut tx: Tx, failure: &Failure<'_>) -> Result<Recorded, Fault> {
    let recorded = tx
        .run(|c| record(c, failure))
        .await
        .map_err(|error| error.ours("record a failed attempt"))?;
    end(tx, recorded).await
}

/// Stores bytes that are not an envelope as a dead letter; see
/// [`hookbox_driver::Store::store_undecodable`].
pub(crate) async fn store_undecodable(
    mut tx: Tx,
    undecodable: &UndecodableMessage<'_>,
) -> Result<Recorded, Fault> {
    let recorded = tx
        .run(|c| keep(c, undecodable))
        .await
        .map_err(|error| error.ours("store undecodable bytes"))?;
    end(tx, recorded).await
}

async fn end(tx: Tx, recorded: Recorded) -> Result<Recorded, Fault> {
    match recorded {
        Recorded::Recorded => tx.commit_ours().await?,
        Recorded::Superseded => tx.rollback().await,
    }
    Ok(recorded)
}

async fn record(c: &mut PgConnection, failure: &Failure<'_>) -> Result<Recorded, Error> {
    let envelope = failure.envelope;
    let route = failure.route;
    // The transaction that claimed the event was rolled back, so the event may not be stored yet,
    // and may have no claim.
    if failure.attempt == 1 {
        events::insert(c, &[envelope]).await?;
        let (attempt, then) = (failure.attempt, failure.then);
        let claimed = claims::insert_failed(c, route, envelope, then.state(), attempt).await?;
        if let Some(event) = claimed {
            return record_consequences(c, event, failure, FailedAttempt { attempt, then }).await;
        }
    }
    let locked = claim_states::lock(c, route, &[envelope.event]).await?;
    let Some(locked) = locked.first() else {
        return Ok(Recorded::Superseded);
    };
    let stored = claim_states::event_state(c, route, envelope, locked).await?;
    let Some(failed) = failure.recorded_on(stored) else {
        return Ok(Recorded::Superseded);
    };
    let event = locked.number;
    claims::failed_again(c, route, event, failed.then.state(), failed.attempt).await?;
    record_consequences(c, event, failure, failed).await
}

/// Writes the rows that follow from a failure. The claim is already written when this is called.
async fn record_consequences(
    c: &mut PgConnection,
    event: EventNumber,
    failure: &Failure<'_>,
    FailedAttempt { attempt, then }: FailedAttempt,
) -> Result<Recorded, Error> {
    let (route, envelope) = (failure.route, failure.envelope);
    let word = then.outcome();
    receipts::update_outcome(c, route, &[event], word).await?;
    let receipt = receipts::OutcomeRow {
        event,
        envelope,
        word,
        other_digest: failure.other_digest,
    };
    receipts::insert_one(c, route, &receipt).await?;
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
    record_run(c, route, &failed).await?;
    Ok(Recorded::Recorded)
}

/// A failed attempt whose claim and receipts are already written.
pub(crate) struct FailedRun<'a> {
    pub event: EventNumber,
    pub attempt: u32,
    pub attempts_before: u32,
    pub class: FailureClass,
    pub error: &'a str,
    pub took: Duration,
    pub then: Then,
    pub is_expired_deferral: bool,
}

/// Writes the row of a failed attempt, and the retry or dead letter that follows from it.
pub(crate) async fn record_run(
    c: &mut PgConnection,
    route: &RouteName,
    failed: &FailedRun<'_>,
) -> Result<(), Error> {
    let (event, attempt) = (failed.event, failed.attempt);
    let (of, class) = ((route, event, attempt), failed.class.as_str());
    attempts::insert_failed(c, of, class, failed.error, failed.took).await?;
    match failed.then {
        Then::Retry { after } => {
            let next = (attempt.saturating_add(1), failed.attempts_before);
            let waits = (after, failed.is_expired_deferral);
            retries::put(c, route, event, next, waits).await
        }
        Then::Dead { reason } => {
            retries::delete(c, route, &[event]).await?;
            let died = NewDeadLetter {
                event,
                reason,
                detail: failed.error,
                attempts: attempt,
                round: round_after(failed.attempts_before),
            };
            dead_letters::put(c, route, &[died]).await
        }
    }
}

async fn keep(
    c: &mut PgConnection,
    undecodable: &UndecodableMessage<'_>,
) -> Result<Recorded, Error> {
    events::insert_undecodable(c, undecodable).await?;
    let claimed = claims::insert_undecodable(c, undecodable.route, &undecodable.event).await?;
    let Some(event) = claimed else {
        // A claim is stored in the same transaction as the bytes and their dead letter. So the
        // bytes are stored if there is a claim, and must not be acknowledged if there is none.
        let stored = claim_states::lock(c, undecodable.route, &[undecodable.event]).await?;
        return match stored.as_slice() {
            [] => Err(Error::RowNotFound),
            [_, ..] => Ok(Recorded::Superseded),
        };
    };
    let died = NewDeadLetter {
        event,
        reason: undecodable.reason,
        detail: &undecodable.detail,
        attempts: 0,
        round: round_after(0),
    };
    dead_letters::put(c, undecodable.route, &[died]).await?;
    Ok(Recorded::Recorded)
}
