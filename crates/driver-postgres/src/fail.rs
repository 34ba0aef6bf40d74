//! Records a failed attempt together with the retry or dead letter that follows from it, and stores
//! undecodable bytes. Each is a separate transaction.

use hookbox_driver::{ClaimState, DeadReason, Failure, Fault, Recorded, Then, UndecodableMessage};
use hookbox_event::EventId;
use sqlx::{Error, PgConnection};

use crate::dead_letters::{self, NewDeadLetter};
use crate::receipts::{self, outcome};
use crate::tx::Tx;
use crate::{attempts, claims, events, retries};

/// See [`hookbox_driver::Store::fail`].
pub(crate) async fn fail(mut tx: Tx, failure: &Failure<'_>) -> Result<Recorded, Fault> {
    let recorded = tx
        .run(|c| record(c, failure))
        .await
        .map_err(|error| error.ours("record a failed attempt"))?;
    end(tx, recorded).await
}

/// See [`hookbox_driver::Store::store_undecodable`].
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
    let (route, event) = (failure.route, &envelope.event);
    let mut then = failure.then;
    // The event is inserted even if a retry follows, because a store that was restored to an
    // earlier moment may not have the event.
    if failure.attempt == 1 {
        events::insert(c, &[envelope]).await?;
        let state = state_of(then);
        if claims::insert_failed(c, route, envelope, state, failure.attempt).await? {
            return record_consequences(c, failure, then).await;
        }
    }
    let locked = claims::lock(c, route, std::slice::from_ref(event)).await?;
    match locked.first().map(|(_, state, _)| *state) {
        // The claim is still running although no transaction holds it, so a handler has committed
        // by itself. Its effects are committed, so the handler must not run again, whatever
        // `failure.then` says. The event becomes a dead letter, so that an operator learns of it
        // before a replay.
        Some(ClaimState::Running) => {
            let kept = events::one(c, event).await?;
            if kept.is_some_and(|kept| kept.digest != envelope.digest) {
                // The stored claim is for another body under the same event id. When this envelope
                // is claimed next, the result is a conflict.
                return Ok(Recorded::Superseded);
            }
            then = Then::Dead {
                reason: DeadReason::Orphaned,
            };
        }
        // The event waits for one attempt, and only a failure of that attempt is recorded. If an
        // older message of the event fails, that failure is not recorded.
        Some(ClaimState::Retrying) if envelope.redo.is_some() => {
            let waiting = retries::waiting(c, route, std::slice::from_ref(event)).await?;
            if waiting.first().map(|waiting| waiting.attempt) != Some(failure.attempt) {
                return Ok(Recorded::Superseded);
            }
        }
        Some(ClaimState::Retrying | ClaimState::Done | ClaimState::Dead) | None => {
            return Ok(Recorded::Superseded);
        }
    }
    claims::failed_again(c, route, event, state_of(then), failure.attempt).await?;
    record_consequences(c, failure, then).await
}

/// Writes the rows that follow from a failure. The claim is already written when this is called.
async fn record_consequences(
    c: &mut PgConnection,
    failure: &Failure<'_>,
    then: Then,
) -> Result<Recorded, Error> {
    let (route, envelope, attempt) = (failure.route, failure.envelope, failure.attempt);
    let events = std::slice::from_ref(&envelope.event);
    let word = match then {
        Then::Retry { .. } => outcome::RETRYING,
        Then::Dead { .. } => outcome::DEAD,
    };
    receipts::update_outcome(c, route, events, word).await?;
    let receipt = receipts::OutcomeRow {
        envelope,
        word,
        other_digest: failure.other_digest,
    };
    receipts::insert_one(c, route, &receipt).await?;
    let of = (route, &envelope.event, attempt);
    let class = failure.class.as_str();
    attempts::insert_failed(c, of, class, &failure.error, failure.took).await?;
    match then {
        Then::Retry { after } => {
            let next = (attempt.saturating_add(1), failure.attempts_before);
            retries::put(c, route, &envelope.event, next, after).await?;
        }
        Then::Dead { reason } => {
            retries::delete(c, route, events).await?;
            let died = NewDeadLetter {
                event: envelope.event,
                reason,
                detail: &failure.error,
                attempts: attempt,
            };
            dead_letters::put(c, route, &[died]).await?;
        }
    }
    Ok(Recorded::Recorded)
}

fn state_of(then: Then) -> ClaimState {
    match then {
        Then::Retry { .. } => ClaimState::Retrying,
        Then::Dead { .. } => ClaimState::Dead,
    }
}

async fn keep(
    c: &mut PgConnection,
    undecodable: &UndecodableMessage<'_>,
) -> Result<Recorded, Error> {
    let event = EventId::of_undecodable(undecodable.bytes);
    events::insert_undecodable(c, &event, undecodable.bytes).await?;
    if !claims::insert_undecodable(c, undecodable.route, &event).await? {
        return Ok(Recorded::Superseded);
    }
    let died = NewDeadLetter {
        event,
        reason: undecodable.reason,
        detail: &undecodable.detail,
        attempts: 0,
    };
    dead_letters::put(c, undecodable.route, &[died]).await?;
    Ok(Recorded::Recorded)
}
