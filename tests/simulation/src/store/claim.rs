//! Claims one event for a route, as the drivers do.

use hookbox_driver::{ClaimState, Claimed, Fault as OurFault, FaultKind, StoredEvent};
use hookbox_event::{Envelope, EventId, RouteName};

use crate::tables::{Key, Tables};
use crate::tx::{OwnedClaim, SimTx};

/// Claims an event for its first message, which an ingest published.
pub(super) async fn plain(
    tx: &mut SimTx,
    route: &RouteName,
    envelope: &Envelope,
) -> Result<Claimed, OurFault> {
    let event = envelope.event;
    let on = (route.clone(), event);
    let held = tx.connection.events.iter().any(|it| it.event == event);
    let unknown = |tables: &Tables| !tables.events.contains_key(&event);
    if !held && tx.lock(Key::Event(event), unknown).await? {
        tx.connection.events.push(envelope.clone());
    }
    let own = tx.connection.events.iter().find(|it| it.event == event);
    let own = own.map(|it| it.digest);
    let kept = || {
        let state = tx.process.world.state();
        state.tables.events.get(&event).map(|it| it.digest)
    };
    let same = own.or_else(kept) == Some(envelope.digest);
    let key = Key::Claim(route.clone(), event);
    let free = |tables: &Tables| same && !tables.claims.contains_key(&on);
    if tx.lock(key, free).await? {
        let owned = OwnedClaim {
            attempt: 1,
            granted: false,
            end: None,
        };
        tx.connection.claimed.push(on.clone());
        tx.owned.insert(on, owned);
        return Ok(Claimed::Fresh);
    }
    let state = tx.process.world.state();
    let receipt = (route.clone(), envelope.receipt);
    if state.tables.receipts.contains_key(&receipt) {
        return Ok(Claimed::Redelivered);
    }
    if !same {
        return Ok(Claimed::Conflict);
    }
    match state.tables.claim(&on).map(|it| it.state) {
        Some(ClaimState::Running) => Ok(Claimed::Orphaned),
        Some(ClaimState::Done | ClaimState::Retrying | ClaimState::Dead | ClaimState::Stale) => {
            Ok(Claimed::Duplicate)
        }
        None => Err(OurFault::plain(
            FaultKind::Contention,
            "claim an event: the claim of another transaction is gone",
        )),
    }
}

/// Claims an event for the message of a retry. Returns `None` when the route has never claimed the
/// event before.
pub(super) async fn redone(
    tx: &mut SimTx,
    route: &RouteName,
    envelope: &Envelope,
    wanted: u32,
) -> Result<Option<Claimed>, OurFault> {
    let on = (route.clone(), envelope.event);
    let key = Key::Claim(route.clone(), envelope.event);
    let known = |tables: &Tables| tables.claims.contains_key(&on);
    if !tx.lock(key, known).await? {
        return Ok(None);
    }
    let state = tx.process.world.state();
    let claim = state.tables.claim(&on).map(|it| it.state);
    let retry = state.tables.retries.get(&on).cloned();
    drop(state);
    let now = tx.process.world.elapsed();
    Ok(match (claim, retry) {
        (None, _) => None,
        (Some(ClaimState::Retrying), Some(retry))
            if retry.attempt == wanted && !retry.is_put_off(now) =>
        {
            let owned = OwnedClaim {
                attempt: wanted,
                granted: true,
                end: None,
            };
            tx.connection.claimed.push(on.clone());
            tx.owned.insert(on, owned);
            Some(Claimed::Granted {
                attempt: wanted,
                attempts_before: retry.before,
            })
        }
        (Some(ClaimState::Running), _) => Some(Claimed::Orphaned),
        (
            Some(ClaimState::Retrying | ClaimState::Done | ClaimState::Dead | ClaimState::Stale),
            _,
        ) => Some(Claimed::Redelivered),
    })
}

/// Returns the event with its first body, if it is committed or was claimed by this transaction.
pub(super) fn stored(tx: &SimTx, event: &EventId) -> Option<StoredEvent> {
    let own = tx.connection.events.iter().find(|it| it.event == *event);
    let state = tx.process.world.state();
    let kept = state.tables.events.get(event);
    let first = kept.and_then(|it| it.envelope.as_ref()).or(own)?;
    Some(StoredEvent {
        topic: first.topic.clone(),
        digest: first.digest,
        seal: first.seal.clone(),
        body: first.body.clone(),
    })
}
