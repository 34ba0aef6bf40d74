//! Claims a batch of envelopes: stores their events, claims them for the route, and says of each
//! event that cannot be claimed why not.

use std::collections::{BTreeSet, HashMap};

use hookbox_driver::{ClaimState, Claimed, Fault, FaultKind};
use hookbox_event::{Envelope, EventId, RouteName};

use crate::claims::{self, StoredClaim};
use crate::events;
use crate::retries::{self, StoredRetry};
use crate::tx::{OwnedClaim, Tx};

/// Claims a batch; see [`hookbox_driver::Store::claim`]. A batch whose events are all new takes two
/// statements: one stores the events, and one claims them.
pub(crate) async fn claim(
    tx: &mut Tx,
    route: &RouteName,
    envelopes: &[&Envelope],
) -> Result<Vec<Claimed>, Fault> {
    let mut found: HashMap<EventId, Claimed> = HashMap::with_capacity(envelopes.len());
    let (redone, mut plain): (Vec<&Envelope>, Vec<&Envelope>) = envelopes
        .iter()
        .partition(|envelope| envelope.redo.is_some());
    if !plain.is_empty() {
        claim_plain(tx, route, &plain, &mut found).await?;
    }
    if !redone.is_empty() {
        // Retries are claimed last, after the inserts of the other events, so that all workers take
        // their row locks in the same order.
        claim_redone(tx, route, &redone, &mut found).await?;
        plain = redone;
        plain.retain(|envelope| !found.contains_key(&envelope.event));
        if !plain.is_empty() {
            // This database has no claim of the retry's event, for example because it was restored
            // to an earlier moment. The retry's envelope contains the whole event, so it is claimed
            // like a first message.
            claim_plain(tx, route, &plain, &mut found).await?;
        }
    }
    envelopes
        .iter()
        .map(|envelope| found.get(&envelope.event).copied().ok_or_else(vanished))
        .collect()
}

/// Claims envelopes that are neither retries nor replays.
async fn claim_plain(
    tx: &mut Tx,
    route: &RouteName,
    envelopes: &[&Envelope],
    found: &mut HashMap<EventId, Claimed>,
) -> Result<(), Fault> {
    tx.run(|c| events::insert(c, envelopes))
        .await
        .map_err(|error| error.ours("store events"))?;
    let fresh = tx
        .run(|c| claims::insert(c, route, envelopes))
        .await
        .map_err(|error| error.ours("claim events"))?;
    for (event, transaction) in fresh {
        tx.id = Some(transaction);
        let owned = OwnedClaim {
            attempt: 1,
            granted: false,
            end: None,
        };
        tx.owned.insert((route.clone(), event), owned);
        found.insert(event, Claimed::Fresh);
    }
    let others: Vec<&Envelope> = envelopes
        .iter()
        .filter(|envelope| !found.contains_key(&envelope.event))
        .copied()
        .collect();
    if others.is_empty() {
        return Ok(());
    }
    // This must be a separate statement, because the insert works on a snapshot that may be older
    // than the row that prevented the claim.
    let known = tx
        .run(|c| claims::look_up(c, route, &others))
        .await
        .map_err(|error| error.ours("look up claims"))?;
    for known in known {
        let ours = tx.owned.contains_key(&(route.clone(), known.event));
        if let Some(claimed) = classify(&known, ours) {
            found.insert(known.event, claimed);
        }
        tx.id = Some(known.transaction);
    }
    Ok(())
}

/// Returns what the existing claim means for an envelope whose event could not be claimed. Returns
/// `None` when that claim has vanished in the meantime.
fn classify(known: &StoredClaim, ours: bool) -> Option<Claimed> {
    if known.settled {
        return Some(Claimed::Redelivered);
    }
    if !known.same {
        // The digests are compared before the state of the claim is read: if the bodies differ, the
        // claim is for the other body, and its state says nothing about this one.
        return Some(Claimed::Conflict);
    }
    match known.state? {
        ClaimState::Running if !ours => Some(Claimed::Orphaned),
        ClaimState::Running | ClaimState::Done | ClaimState::Retrying | ClaimState::Dead => {
            Some(Claimed::Duplicate)
        }
    }
}

/// Claims envelopes that are retries or replays. An envelope whose event has no claim at all is not
/// added to `found`.
async fn claim_redone(
    tx: &mut Tx,
    route: &RouteName,
    envelopes: &[&Envelope],
    found: &mut HashMap<EventId, Claimed>,
) -> Result<(), Fault> {
    let ids: Vec<EventId> = envelopes.iter().map(|envelope| envelope.event).collect();
    let locked = tx
        .run(|c| claims::lock(c, route, &ids))
        .await
        .map_err(|error| error.ours("lock claims"))?;
    // This must be a separate statement, because the retry may have changed while this transaction
    // waited for the lock.
    let waiting: HashMap<EventId, StoredRetry> = tx
        .run(|c| retries::waiting(c, route, &ids))
        .await
        .map_err(|error| error.ours("look up retries"))?
        .into_iter()
        .map(|waiting| (waiting.event, waiting))
        .collect();
    let mut granted = BTreeSet::new();
    let wanted: HashMap<EventId, u32> = envelopes
        .iter()
        .filter_map(|envelope| envelope.redo.map(|redo| (envelope.event, redo.attempt)))
        .collect();
    for (event, state, transaction) in locked {
        tx.id = Some(transaction);
        let claimed = match (state, waiting.get(&event), wanted.get(&event)) {
            (ClaimState::Retrying, Some(waiting), Some(wanted))
                if waiting.attempt == *wanted && !waiting.is_put_off =>
            {
                granted.insert(event);
                let owned = OwnedClaim {
                    attempt: waiting.attempt,
                    granted: true,
                    end: None,
                };
                tx.owned.insert((route.clone(), event), owned);
                Claimed::Granted {
                    attempt: waiting.attempt,
                    attempts_before: waiting.attempts_before,
                }
            }
            (ClaimState::Running, _, _) => Claimed::Orphaned,
            (ClaimState::Retrying | ClaimState::Done | ClaimState::Dead, _, _) => {
                Claimed::Redelivered
            }
        };
        found.insert(event, claimed);
    }
    if !granted.is_empty() {
        let granted: Vec<EventId> = granted.into_iter().collect();
        tx.run(|c| claims::rerun(c, route, &granted))
            .await
            .map_err(|error| error.ours("grant retries"))?;
    }
    Ok(())
}

fn vanished() -> Fault {
    Fault::plain(
        FaultKind::Contention,
        "claim an event: another transaction had claimed it, and that claim is gone now",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_way_is_judged_by_receipt_then_body_then_claim() {
        use ClaimState::{Dead, Done, Retrying, Running};
        for (settled, same, state, ours, expect) in [
            (true, true, Some(Done), false, Some(Claimed::Redelivered)),
            (
                true,
                false,
                Some(Running),
                false,
                Some(Claimed::Redelivered),
            ),
            (false, false, Some(Running), false, Some(Claimed::Conflict)),
            (false, false, None, false, Some(Claimed::Conflict)),
            (false, true, Some(Running), false, Some(Claimed::Orphaned)),
            (false, true, Some(Running), true, Some(Claimed::Duplicate)),
            (false, true, Some(Done), false, Some(Claimed::Duplicate)),
            (false, true, Some(Retrying), false, Some(Claimed::Duplicate)),
            (false, true, Some(Dead), false, Some(Claimed::Duplicate)),
            (false, true, None, false, None),
        ] {
            let known = StoredClaim {
                event: EventId::from_bytes([1; 32]),
                settled,
                same,
                state,
                transaction: "1".to_owned(),
            };
            assert_eq!(
                classify(&known, ours),
                expect,
                "{settled} {same} {state:?} {ours}"
            );
        }
    }
}
