//! Settles a batch: writes the outcome of every receipt, in the same transaction as the handler's
//! effects.

use hookbox_driver::{
    ClaimState, CommitError, DeadReason, Fault, FaultKind, Outcome, ReceiptOutcome,
};
use hookbox_event::{EventId, RouteName};

use crate::attempts::{self, Made};
use crate::dead_letters::{self, Death};
use crate::diagnose::fault;
use crate::receipts::StoredOutcome;
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
    let words: Vec<receipts::OutcomeRow<'_>> = settled
        .iter()
        .map(|one| receipts::OutcomeRow {
            envelope: one.envelope,
            word: word(&one.outcome),
            other_digest: one.other_digest,
        })
        .collect();
    receipts::keep(tx.connection(), route, &words, now)
        .await
        .map_err(fault("write the outcome of receipts"))?;
    for ReceiptOutcome {
        envelope, outcome, ..
    } in settled
    {
        let end = match outcome {
            Outcome::Duplicate => continue,
            Outcome::Done { attempt } => End::Done { attempt: *attempt },
            Outcome::Conflict { detail } => End::Dead {
                reason: DeadReason::Conflict,
                detail,
            },
            Outcome::Dead { reason, detail } => End::Dead {
                reason: *reason,
                detail,
            },
        };
        settle_mine(tx, route, &envelope.event, &end, now).await?;
    }
    Ok(())
}

/// The final state of a claim that this transaction has made.
enum End<'a> {
    Done { attempt: u32 },
    Dead { reason: DeadReason, detail: &'a str },
}

async fn settle_mine(
    tx: &mut Tx,
    route: &RouteName,
    event: &EventId,
    end: &End<'_>,
    now: i64,
) -> Result<(), CommitError> {
    let took = tx.claimed_at.elapsed();
    let Some(mine) = tx.mine.get_mut(&(route.clone(), *event)) else {
        return Err(Fault::plain(
            FaultKind::Internal,
            "settle an event that this transaction has not claimed",
        )
        .into());
    };
    let granted = mine.granted;
    let (state, attempts) = match end {
        End::Done { attempt } => (ClaimState::Done, *attempt),
        // An event becomes a dead letter here without a run of its handler in this transaction, so
        // no attempt is added.
        End::Dead { .. } => (ClaimState::Dead, mine.attempts),
    };
    mine.settled = Some((state, attempts));
    let connection = tx.connection();
    let written: sqlx::Result<()> = async {
        if let End::Dead { reason, detail } = *end {
            let death = Death {
                route,
                event,
                reason,
                detail,
                attempts,
            };
            dead_letters::put(connection, &death, now).await?;
        }
        if granted {
            retries::end(connection, route, event).await?;
            let word = match end {
                End::Done { .. } => StoredOutcome::Done,
                End::Dead { .. } => StoredOutcome::Dead,
            };
            receipts::update_outcome(connection, route, event, word, now).await?;
        }
        if granted && state == ClaimState::Done {
            let made = Made {
                route,
                event,
                attempt: attempts,
                outcome: attempts::DONE,
                error: None,
                took,
            };
            attempts::keep(connection, &made, now).await?;
        }
        Ok(())
    }
    .await;
    Ok(written.map_err(fault("write the outcome of an event"))?)
}

fn word(outcome: &Outcome) -> StoredOutcome {
    match outcome {
        Outcome::Done { .. } => StoredOutcome::Done,
        Outcome::Duplicate => StoredOutcome::Duplicate,
        Outcome::Conflict { .. } => StoredOutcome::Conflict,
        Outcome::Dead { .. } => StoredOutcome::Dead,
    }
}
