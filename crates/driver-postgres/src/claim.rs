//! Claims a batch of envelopes: stores their events, claims the events for the route, and reports
//! the reason for each event that cannot be claimed.

use std::collections::{BTreeSet, HashMap};

use hookbox_driver::{ClaimFacts, ClaimState, Claimed, Fault, FaultKind, WaitingAttempt};
use hookbox_event::{Envelope, EventId, EventNumber, Redo, RouteName};

use crate::owned_claim::OwnedClaim;
use crate::tx::Tx;
use crate::{claim_states, claims, events, retries};

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
    for new in fresh {
        tx.id = Some(new.transaction);
        let owned = OwnedClaim {
            attempt: 1,
            attempts_before: 0,
            granted: false,
            written: new.written,
            end: None,
        };
        tx.numbers.insert(new.event, new.number);
        tx.owned.insert((route.clone(), new.event), owned);
        found.insert(new.event, Claimed::Fresh);
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
        .run(|c| claim_states::look_up(c, route, &others))
        .await
        .map_err(|error| error.ours("look up the claims of events"))?;
    for known in known {
        let facts = ClaimFacts {
            is_settled: known.settled,
            is_same_body: known.same,
            state: known.state,
            is_own: tx.owned.contains_key(&(route.clone(), known.event)),
            waiting: None,
        };
        // If the claim that prevented this one is gone by now, the envelope gets no result here.
        // `claim` then returns the fault that `vanished` creates.
        if let Some(claimed) = facts.of_message() {
            found.insert(known.event, claimed);
        }
        tx.numbers.insert(known.event, known.number);
        tx.id = Some(known.transaction);
    }
    Ok(())
}

/// Claims envelopes that are retries or replays. An envelope whose event has no claim on the route
/// is not added to `found`.
async fn claim_redone(
    tx: &mut Tx,
    route: &RouteName,
    envelopes: &[&Envelope],
    found: &mut HashMap<EventId, Claimed>,
) -> Result<(), Fault> {
    let ids: Vec<EventId> = envelopes.iter().map(|envelope| envelope.event).collect();
    let locked = tx
        .run(|c| claim_states::lock(c, route, &ids))
        .await
        .map_err(|error| error.ours("lock the claims of retried events"))?;
    let numbers: Vec<EventNumber> = locked.iter().map(|locked| locked.number).collect();
    // This must be a separate statement, because the retry may have changed while this transaction
    // waited for the lock.
    let waiting: HashMap<EventNumber, WaitingAttempt> = tx
        .run(|c| retries::waiting(c, route, &numbers))
        .await
        .map_err(|error| error.ours("look up the waiting attempts of events"))?
        .into_iter()
        .map(|retry| (retry.event, retry.waiting))
        .collect();
    let mut granted = BTreeSet::new();
    let redone: HashMap<EventId, Redo> = envelopes
        .iter()
        .filter_map(|envelope| envelope.redo.map(|redo| (envelope.event, redo)))
        .collect();
    for locked in locked {
        let (event, number) = (locked.event, locked.number);
        tx.numbers.insert(event, number);
        tx.id = Some(locked.transaction);
        let facts = ClaimFacts {
            // `of_retry` does not read these two values of an event with a claim: a retry may be
            // granted although its receipt has an outcome or its body differs.
            is_settled: false,
            is_same_body: true,
            state: Some(locked.state),
            is_own: tx.owned.contains_key(&(route.clone(), event)),
            waiting: waiting.get(&number).copied(),
        };
        let claimed = redone.get(&event).and_then(|redo| facts.of_retry(*redo));
        let Some(claimed) = claimed else { continue };
        if let Claimed::Granted {
            attempt,
            attempts_before,
        } = claimed
        {
            granted.insert(number);
            let owned = OwnedClaim {
                attempt,
                attempts_before,
                granted: true,
                written: ClaimState::Running,
                end: None,
            };
            tx.owned.insert((route.clone(), event), owned);
        }
        found.insert(event, claimed);
    }
    if !granted.is_empty() {
        let granted: Vec<EventNumber> = granted.into_iter().collect();
        tx.run(|c| claims::rerun(c, route, &granted))
            .await
            .map_err(|error| error.ours("set the claims of granted retries to running"))?;
    }
    Ok(())
}

fn vanished() -> Fault {
    Fault::plain(
        FaultKind::Contention,
        "claim an event: another transaction had claimed it, and that claim is gone now",
    )
}
