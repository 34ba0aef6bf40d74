//! Claims events. The transaction holds the file's write lock, so no other process can change the
//! state of an event between the read of the state and the claim.

use hookbox_driver::{ClaimFacts, ClaimState, Claimed};
use hookbox_event::{Envelope, EventNumber, RouteName};

use crate::owned_claim::OwnedClaim;
use crate::tx::Tx;
use crate::{claim_states, claims, events, moment, receipts};

/// Claims a batch; see [`hookbox_driver::Store::claim`]. Reads the stored states of the events and
/// receipts, decides from them the result for each envelope, and claims the events that are to be
/// processed.
pub(crate) async fn claim(
    tx: &mut Tx,
    route: &RouteName,
    envelopes: &[&Envelope],
) -> sqlx::Result<Vec<Claimed>> {
    let ids = envelopes.iter().map(|envelope| &envelope.event);
    let known = claim_states::look_up(tx.connection(), route, ids).await?;
    let ids = envelopes.iter().map(|envelope| &envelope.receipt);
    let settled = receipts::known(tx.connection(), route, ids).await?;
    let mut claimed = Vec::with_capacity(envelopes.len());
    let mut fresh: Vec<&Envelope> = Vec::new();
    let mut granted: Vec<EventNumber> = Vec::new();
    let numbers = known.iter().map(|(event, known)| (*event, known.number));
    tx.numbers.extend(numbers);
    for envelope in envelopes.iter().copied() {
        let key = (route.clone(), envelope.event);
        let (known, own) = (known.get(&envelope.event), tx.owned.get(&key));
        let facts = ClaimFacts {
            is_settled: settled.contains(&envelope.receipt)
                || own.is_some_and(|own| own.receipt == envelope.receipt),
            is_same_body: known.is_none_or(|known| known.digest == envelope.digest),
            state: known.and_then(|known| known.claim).map(|(state, _)| state),
            is_own: own.is_some(),
            waiting: known.and_then(|known| known.retry),
        };
        let answer = match envelope.redo {
            Some(redo) => facts.of_retry(redo),
            None => facts.of_message(),
        };
        let answer = answer.unwrap_or(Claimed::Fresh);
        let attempts = match answer {
            Claimed::Fresh => {
                fresh.push(envelope);
                Some((0, 0))
            }
            Claimed::Granted {
                attempt,
                attempts_before,
            } => {
                granted.extend(known.map(|known| known.number));
                Some((attempt.saturating_sub(1), attempts_before))
            }
            Claimed::Redelivered | Claimed::Duplicate | Claimed::Conflict | Claimed::Orphaned => {
                None
            }
        };
        if let Some((attempts, attempts_before)) = attempts {
            let owned = OwnedClaim {
                receipt: envelope.receipt,
                attempts,
                attempts_before,
                granted: matches!(answer, Claimed::Granted { .. }),
                // For a fresh claim, `insert_fresh` replaces this by the state that it has written.
                written: ClaimState::Running,
                settled: None,
            };
            tx.owned.insert(key, owned);
        }
        claimed.push(answer);
    }
    let now = moment::now();
    if !fresh.is_empty() {
        insert_fresh(tx, route, &fresh, now).await?;
    }
    if !granted.is_empty() {
        claims::rerun(tx.connection(), route, &granted).await?;
    }
    Ok(claimed)
}

/// Stores events and claims them for the route. Records in `tx` the state in which each claim was
/// written.
async fn insert_fresh(
    tx: &mut Tx,
    route: &RouteName,
    fresh: &[&Envelope],
    now: i64,
) -> sqlx::Result<()> {
    let numbers = events::insert(tx.connection(), fresh, now).await?;
    let mut events: Vec<EventNumber> = numbers.values().copied().collect();
    events.sort_unstable();
    let written = claims::insert(tx.connection(), route, &events, now).await?;
    for envelope in fresh {
        let state = numbers.get(&envelope.event).and_then(|it| written.get(it));
        let owned = tx.owned.get_mut(&(route.clone(), envelope.event));
        if let (Some(owned), Some(state)) = (owned, state) {
            owned.written = *state;
        }
    }
    tx.numbers.extend(numbers);
    Ok(())
}
