//! Settles a batch: writes the outcome of every receipt, in the same transaction as the handler's
//! effects.

use hookbox_driver::{CommitError, Death, Fault, FaultKind, Outcome, ReceiptOutcome};
use hookbox_event::{EventId, EventNumber, RouteName};

use crate::attempts::{self, Made};
use crate::dead_letters::{self, NewDeadLetter};
use crate::diagnose::fault;
use crate::tx::Tx;
use crate::{moment, receipts, retries};

/// Writes the outcomes of receipts. The final states of the claims are written later, by the guard
/// before the commit.
pub(crate) async fn settle(
    tx: &mut Tx,
    route: &RouteName,
    settled: &[ReceiptOutcome<'_>],
) -> Result<(), CommitError> {
    let now = moment::now();
    let words = settled.iter().map(|one| {
        Ok(receipts::OutcomeRow {
            envelope: one.envelope,
            event: number(tx, &one.envelope.event)?,
            word: (&one.outcome).into(),
            other_digest: one.other_digest,
        })
    });
    let words: Vec<receipts::OutcomeRow<'_>> = words.collect::<Result<_, Fault>>()?;
    receipts::insert(tx.connection(), route, &words, now)
        .await
        .map_err(fault("write the outcome of receipts"))?;
    for ReceiptOutcome {
        envelope, outcome, ..
    } in settled
    {
        if !matches!(outcome, Outcome::Duplicate) {
            end(tx, route, &envelope.event, outcome, now).await?;
        }
    }
    Ok(())
}

/// Returns the number of an event whose claim this transaction has looked up.
pub(crate) fn number(tx: &Tx, event: &EventId) -> Result<EventNumber, Fault> {
    tx.numbers.get(event).copied().ok_or_else(unclaimed)
}

pub(crate) fn unclaimed() -> Fault {
    let what = "settle or withdraw an event that this transaction has not claimed";
    Fault::plain(FaultKind::Internal, what)
}

/// Ends the claim of an event that this transaction has claimed.
async fn end(
    tx: &mut Tx,
    route: &RouteName,
    event: &EventId,
    outcome: &Outcome,
    now: i64,
) -> Result<(), CommitError> {
    let took = tx.claimed_at.elapsed();
    let Some(owned) = tx.owned.get_mut(&(route.clone(), *event)) else {
        return Err(unclaimed().into());
    };
    let claimed = owned.attempts.saturating_add(1);
    let Some(end) = outcome.end_of_claim(claimed, owned.granted) else {
        return Ok(());
    };
    let attempts = end.attempts;
    owned.settled = Some((end.state, attempts));
    let event = number(tx, event)?;
    let connection = tx.connection();
    let written: sqlx::Result<()> = async {
        if let Some(Death { reason, detail }) = end.died {
            let death = NewDeadLetter {
                route,
                event,
                reason,
                detail,
                attempts,
            };
            dead_letters::put(connection, &death, now).await?;
        }
        if let Some(word) = end.ends_retry {
            retries::delete(connection, route, event).await?;
            receipts::update_outcome(connection, route, event, word, now).await?;
        }
        if end.records_attempt {
            let made = Made {
                route,
                event,
                attempt: attempts,
                outcome: attempts::DONE,
                error: None,
                took,
            };
            attempts::insert(connection, &made, now).await?;
        }
        Ok(())
    }
    .await;
    Ok(written.map_err(fault("write the outcome of an event"))?)
}
