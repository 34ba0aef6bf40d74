//! Defers an event: makes it wait without counting an attempt, in a separate transaction.

use hookbox_driver::{ClaimState, Deferral, Deferred, Fault};
use sqlx::{Error, PgConnection};

use crate::receipts::{self, outcome};
use crate::tx::Tx;
use crate::{claims, events, retries};

/// See [`hookbox_driver::Store::defer`].
pub(crate) async fn defer(mut tx: Tx, deferral: &Deferral<'_>) -> Result<Deferred, Fault> {
    let deferred = tx
        .run(|c| record(c, deferral))
        .await
        .map_err(|error| error.ours("defer an event"))?;
    match deferred {
        Deferred::Recorded => tx.commit_ours().await?,
        Deferred::Superseded | Deferred::Expired => tx.rollback().await,
    }
    Ok(deferred)
}

async fn record(c: &mut PgConnection, deferral: &Deferral<'_>) -> Result<Deferred, Error> {
    let (route, envelope, attempt) = (deferral.route, deferral.envelope, deferral.attempt);
    let event = &envelope.event;
    let (state, made) = (ClaimState::Retrying, attempt.saturating_sub(1));
    if attempt == 1 {
        events::insert(c, &[envelope]).await?;
        if claims::insert_failed(c, route, envelope, state, made).await? {
            return put_off(c, deferral).await;
        }
    }
    let locked = claims::lock(c, route, std::slice::from_ref(event)).await?;
    match locked.first().map(|(_, state, _)| *state) {
        // The event waits for one attempt, and only the message of that attempt may defer it again.
        // The message of an earlier attempt may not.
        Some(ClaimState::Retrying) if envelope.redo.is_some() => {
            let waiting = retries::waiting(c, route, std::slice::from_ref(event)).await?;
            if waiting.first().map(|waiting| waiting.attempt) != Some(attempt) {
                return Ok(Deferred::Superseded);
            }
        }
        // The event has changed state in the meantime. When its message is claimed next, the claim
        // returns the new state.
        Some(ClaimState::Retrying | ClaimState::Running | ClaimState::Done | ClaimState::Dead)
        | None => return Ok(Deferred::Superseded),
    }
    put_off(c, deferral).await
}

/// Writes the rows of a deferral. A new claim is already written when this is called.
async fn put_off(c: &mut PgConnection, deferral: &Deferral<'_>) -> Result<Deferred, Error> {
    let (route, envelope) = (deferral.route, deferral.envelope);
    let age = retries::put_off_for(c, deferral).await?;
    let Some(after) = deferral.wait(age) else {
        return Ok(Deferred::Expired);
    };
    retries::put_off(c, deferral, after).await?;
    let events = std::slice::from_ref(&envelope.event);
    receipts::update_outcome(c, route, events, outcome::RETRYING).await?;
    let receipt = receipts::OutcomeRow {
        envelope,
        word: outcome::RETRYING,
        other_digest: deferral.other_digest,
    };
    receipts::insert_one(c, route, &receipt).await?;
    Ok(Deferred::Recorded)
}
