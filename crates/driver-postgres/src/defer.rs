//! Defers an event: the event waits, and no attempt is counted. This is a separate transaction,
//! made after the transaction of the claim was rolled back.

use hookbox_driver::{ClaimState, Deferral, Deferred, Fault, StoredOutcome};
use hookbox_event::EventNumber;
use sqlx::{Error, PgConnection};

use crate::receipts;
use crate::tx::Tx;
use crate::{claim_states, claims, events, retries};

/// Makes an event wait again for the attempt that was claimed and not made. Changes nothing if the
/// state of the event has changed since the claim, or if the event has been deferred for as long as
/// its deferral allows; see [`hookbox_driver::Store::defer`].
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
    let (state, made) = (ClaimState::Retrying, attempt.saturating_sub(1));
    if attempt == 1 {
        events::insert(c, &[envelope]).await?;
        if let Some(event) = claims::insert_failed(c, route, envelope, state, made).await? {
            return put_off(c, event, deferral).await;
        }
    }
    let locked = claim_states::lock(c, route, &[envelope.event]).await?;
    let Some(locked) = locked.first() else {
        return Ok(Deferred::Superseded);
    };
    if !deferral.may_wait(claim_states::event_state(c, route, envelope, locked).await?) {
        return Ok(Deferred::Superseded);
    }
    put_off(c, locked.number, deferral).await
}

/// Writes the rows of a deferral. A new claim is already written when this is called.
async fn put_off(
    c: &mut PgConnection,
    event: EventNumber,
    deferral: &Deferral<'_>,
) -> Result<Deferred, Error> {
    let (route, envelope) = (deferral.route, deferral.envelope);
    let before = retries::put_off_for(c, event, deferral).await?;
    let Some(written) = deferral.written_after(before) else {
        return Ok(Deferred::Expired);
    };
    retries::put_off(c, event, deferral, written).await?;
    receipts::update_outcome(c, route, &[event], StoredOutcome::Retrying).await?;
    let receipt = receipts::OutcomeRow {
        event,
        envelope,
        word: StoredOutcome::Retrying,
        other_digest: deferral.other_digest,
    };
    receipts::insert_one(c, route, &receipt).await?;
    Ok(Deferred::Recorded)
}
