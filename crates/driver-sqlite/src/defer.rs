//! Defers an event: it waits, and no attempt is counted. This is a transaction of its own, after
//! the one of the claim was rolled back.

use hookbox_driver::{ClaimState, Deferral, Deferred};
use sqlx::sqlite::SqliteConnection;

use crate::events::{self, StoredClaim};
use crate::receipts::{self, OutcomeRow, StoredOutcome};
use crate::{claims, moment, retries};

/// Makes an event wait for the attempt that was claimed and not made, unless the state of the event
/// has changed since the claim.
pub(crate) async fn defer(
    connection: &mut SqliteConnection,
    deferral: &Deferral<'_>,
) -> sqlx::Result<Deferred> {
    let (route, envelope) = (deferral.route, deferral.envelope);
    let event = &envelope.event;
    let known = events::known(connection, route, [event]).await?;
    if !may_wait(known.get(event), deferral) {
        return Ok(Deferred::Superseded);
    }
    let age = retries::put_off_for(connection, deferral).await?;
    let Some(after) = deferral.wait(age) else {
        return Ok(Deferred::Expired);
    };
    let now = moment::now();
    events::keep(connection, &[envelope], now).await?;
    let (state, made) = (ClaimState::Retrying, deferral.attempt.saturating_sub(1));
    claims::put(connection, route, event, state, made, now).await?;
    let waits = OutcomeRow {
        envelope,
        word: StoredOutcome::Retrying,
        other_digest: deferral.other_digest,
    };
    receipts::keep(connection, route, &[waits], now).await?;
    receipts::update_outcome(connection, route, event, StoredOutcome::Retrying, now).await?;
    retries::put_off(connection, deferral, moment::in_(after), now).await?;
    Ok(Deferred::Recorded)
}

/// Returns whether the event still has the state in which it was claimed.
fn may_wait(known: Option<&StoredClaim>, deferral: &Deferral<'_>) -> bool {
    let envelope = deferral.envelope;
    let Some(known) = known else {
        return true;
    };
    if envelope.redo.is_none() && known.digest != envelope.digest {
        // Another body was stored for this event since the claim, so the receipt is not deferred.
        // It is redelivered, and its next claim returns the conflict.
        return false;
    }
    match known.claim {
        None => true,
        // A waiting event may only be deferred again by the attempt for which it waits.
        Some((ClaimState::Retrying, _)) => {
            let waits_for = known.retry.map(|retry| retry.attempt);
            envelope.redo.is_some() && waits_for == Some(deferral.attempt)
        }
        Some((ClaimState::Running | ClaimState::Done | ClaimState::Dead, _)) => false,
    }
}
