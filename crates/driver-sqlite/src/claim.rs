//! Claims events. The transaction holds the file's write lock, so it can read the state of an event
//! and then act on it, and no other process can change the state in between.

use hookbox_driver::{ClaimState, Claimed};
use hookbox_event::{Envelope, EventId, RouteName};

use crate::events::{self, StoredClaim};
use crate::tx::{OwnedClaim, Tx};
use crate::{claims, moment, receipts};

/// Reads the stored state of every event and receipt, decides what each envelope is, and claims
/// those events that are to be processed.
pub(crate) async fn claim(
    tx: &mut Tx,
    route: &RouteName,
    envelopes: &[&Envelope],
) -> sqlx::Result<Vec<Claimed>> {
    let ids = envelopes.iter().map(|envelope| &envelope.event);
    let known = events::known(tx.connection(), route, ids).await?;
    let ids = envelopes.iter().map(|envelope| &envelope.receipt);
    let settled = receipts::known(tx.connection(), route, ids).await?;
    let mut claimed = Vec::with_capacity(envelopes.len());
    let mut fresh: Vec<&Envelope> = Vec::new();
    let mut granted: Vec<EventId> = Vec::new();
    for envelope in envelopes.iter().copied() {
        let key = (route.clone(), envelope.event);
        let answer = decide(&Seen {
            envelope,
            known: known.get(&envelope.event),
            settled: settled.contains(&envelope.receipt),
            mine: tx.mine.get(&key),
        });
        let attempts = match answer {
            Claimed::Fresh => {
                fresh.push(envelope);
                Some(0)
            }
            Claimed::Granted { attempt, .. } => {
                granted.push(envelope.event);
                Some(attempt.saturating_sub(1))
            }
            Claimed::Redelivered | Claimed::Duplicate | Claimed::Conflict | Claimed::Orphaned => {
                None
            }
        };
        if let Some(attempts) = attempts {
            let mine = OwnedClaim {
                receipt: envelope.receipt,
                attempts,
                granted: matches!(answer, Claimed::Granted { .. }),
                settled: None,
            };
            tx.mine.insert(key, mine);
        }
        claimed.push(answer);
    }
    let now = moment::now();
    if !fresh.is_empty() {
        events::keep(tx.connection(), &fresh, now).await?;
        let ids: Vec<EventId> = fresh.iter().map(|envelope| envelope.event).collect();
        claims::start(tx.connection(), route, &ids, now).await?;
    }
    if !granted.is_empty() {
        claims::resume(tx.connection(), route, &granted).await?;
    }
    Ok(claimed)
}

/// The stored state on which the decision about one envelope depends.
struct Seen<'a> {
    envelope: &'a Envelope,
    known: Option<&'a StoredClaim>,
    /// Whether the receipt has an outcome.
    settled: bool,
    /// The claim of the event, if this transaction has made it already.
    mine: Option<&'a OwnedClaim>,
}

fn decide(seen: &Seen<'_>) -> Claimed {
    let envelope = seen.envelope;
    if envelope.redo.is_none()
        && (seen.settled
            || seen
                .mine
                .is_some_and(|mine| mine.receipt == envelope.receipt))
    {
        return Claimed::Redelivered;
    }
    let Some(known) = seen.known else {
        return Claimed::Fresh;
    };
    if let Some(redo) = envelope.redo {
        return match (known.claim, known.retry) {
            // The message asks for a retry, but the store knows no earlier attempt. So the store
            // was restored to a state from before that attempt. The event may have been processed
            // since, but processing it twice is better than losing it.
            (None, _) => Claimed::Fresh,
            (Some((ClaimState::Retrying, _)), Some(retry))
                if retry.attempt == redo.attempt && !retry.is_put_off =>
            {
                Claimed::Granted {
                    attempt: retry.attempt,
                    attempts_before: retry.attempts_before,
                }
            }
            (Some((ClaimState::Running, _)), _) if seen.mine.is_none() => Claimed::Orphaned,
            (
                Some((
                    ClaimState::Running
                    | ClaimState::Retrying
                    | ClaimState::Done
                    | ClaimState::Dead,
                    _,
                )),
                _,
            ) => Claimed::Redelivered,
        };
    }
    // A receipt with another body than the stored one is a conflict even on a route that has not
    // claimed the event yet. Otherwise the first attempt on this route would use the body of the
    // receipt, and a retry the stored body.
    if known.digest != envelope.digest {
        return Claimed::Conflict;
    }
    match known.claim {
        None => Claimed::Fresh,
        Some((ClaimState::Running, _)) if seen.mine.is_none() => Claimed::Orphaned,
        Some((
            ClaimState::Running | ClaimState::Done | ClaimState::Retrying | ClaimState::Dead,
            _,
        )) => Claimed::Duplicate,
    }
}
