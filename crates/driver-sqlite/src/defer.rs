//! Defers an event: the event waits, and no attempt is counted. This is a separate transaction,
//! made after the transaction of the claim was rolled back.

use hookbox_driver::{ClaimState, Deferral, Deferred, StoredOutcome};
use sqlx::sqlite::SqliteConnection;

use crate::claim_states::{self, StoredClaim};
use crate::receipts::{self, OutcomeRow};
use crate::{claims, events, moment, retries};

/// Makes an event wait again for the attempt that was claimed and not made. Changes nothing if the
/// state of the event has changed since the claim, or if the event has been deferred for as long as
/// its deferral allows; see [`hookbox_driver::Store::defer`].
pub(crate) async fn defer(
    connection: &mut SqliteConnection,
    deferral: &Deferral<'_>,
) -> sqlx::Result<Deferred> {
    let (route, envelope) = (deferral.route, deferral.envelope);
    let known = claim_states::look_up(connection, route, [&envelope.event]).await?;
    let known = known.get(&envelope.event);
    if !deferral.may_wait(StoredClaim::state(known, envelope)) {
        return Ok(Deferred::Superseded);
    }
    let before = match known {
        Some(known) => retries::put_off_for(connection, known.number, deferral).await?,
        None => None,
    };
    let Some(written) = deferral.written_after(before) else {
        return Ok(Deferred::Expired);
    };
    let now = moment::now();
    let event = events::insert_one(connection, envelope, now).await?;
    let (state, made) = (ClaimState::Retrying, deferral.attempt.saturating_sub(1));
    claims::put(connection, route, event, state, made, now).await?;
    let waits = OutcomeRow {
        envelope,
        event,
        word: StoredOutcome::Retrying,
        other_digest: deferral.other_digest,
    };
    receipts::insert(connection, route, &[waits], now).await?;
    receipts::update_outcome(connection, route, &[event], StoredOutcome::Retrying, now).await?;
    retries::put_off(connection, event, deferral, written, now).await?;
    Ok(Deferred::Recorded)
}
