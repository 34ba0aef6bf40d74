//! Settles a batch: writes the outcome of every receipt, and the rows of other tables that follow
//! from the outcomes, such as dead letters.

use hookbox_driver::{ClaimState, CommitError, DeadReason, Fault, Outcome, ReceiptOutcome};
use hookbox_event::{Envelope, EventId, RouteName};

use crate::dead_letters::{self, NewDeadLetter};
use crate::receipts::{self, outcome};
use crate::server::query_error::QueryError;
use crate::tx::{Tx, ended};
use crate::{attempts, retries};

/// The rows to write in `receipts` and in the other tables, as they follow from the outcomes.
#[derive(Default)]
struct Consequences<'a> {
    receipts: Vec<receipts::OutcomeRow<'a>>,
    died: Vec<NewDeadLetter<'a>>,
    /// The retries and replays that succeeded: the event and the number of its attempt.
    redone: Vec<(EventId, u32)>,
    /// Events whose retry or replay became a dead letter, without an attempt.
    given_up: Vec<EventId>,
}

/// Settles a batch; see [`hookbox_driver::Store::settle`]. A batch of first attempts without dead
/// letters takes one statement.
pub(crate) async fn settle(
    tx: &mut Tx,
    route: &RouteName,
    settled: &[ReceiptOutcome<'_>],
) -> Result<(), CommitError> {
    if settled.is_empty() {
        return Ok(());
    }
    let consequences = sort(tx, route, settled)?;
    let transaction = tx.id.clone().unwrap_or_default();
    let inserted = tx
        .run(|c| receipts::insert(c, &transaction, route, &consequences.receipts))
        .await;
    match inserted {
        Ok(true) => {}
        Ok(false) => return Err(ended()),
        Err(error) => return Err(tx.attribute(error, "write outcomes").await),
    }
    match write(tx, route, &consequences).await {
        Ok(()) => Ok(()),
        Err((error, doing)) => Err(tx.attribute(error, doing).await),
    }
}

fn sort<'a>(
    tx: &mut Tx,
    route: &RouteName,
    settled: &'a [ReceiptOutcome<'a>],
) -> Result<Consequences<'a>, Fault> {
    let mut consequences = Consequences::default();
    for one in settled {
        let (envelope, outcome) = (one.envelope, &one.outcome);
        let word = match outcome {
            Outcome::Duplicate => outcome::DUPLICATE,
            Outcome::Done { attempt } => {
                let owned = tx.owned_mut(route, &envelope.event)?;
                owned.end = Some((ClaimState::Done, *attempt));
                if owned.granted {
                    consequences.redone.push((envelope.event, *attempt));
                }
                outcome::DONE
            }
            Outcome::Conflict { detail } => {
                consequences.give_up(tx, route, envelope, DeadReason::Conflict, detail)?;
                outcome::CONFLICT
            }
            Outcome::Dead { reason, detail } => {
                consequences.give_up(tx, route, envelope, *reason, detail)?;
                outcome::DEAD
            }
        };
        consequences.receipts.push(receipts::OutcomeRow {
            envelope,
            word,
            other_digest: one.other_digest,
        });
    }
    Ok(consequences)
}

impl<'a> Consequences<'a> {
    /// Records a dead letter. The handler did not run for this claim, so the attempt that the claim
    /// was granted is not counted.
    fn give_up(
        &mut self,
        tx: &mut Tx,
        route: &RouteName,
        envelope: &Envelope,
        reason: DeadReason,
        detail: &'a str,
    ) -> Result<(), Fault> {
        let owned = tx.owned_mut(route, &envelope.event)?;
        let attempts = owned.attempt.saturating_sub(1);
        owned.end = Some((ClaimState::Dead, attempts));
        if owned.granted {
            self.given_up.push(envelope.event);
        }
        self.died.push(NewDeadLetter {
            event: envelope.event,
            reason,
            detail,
            attempts,
        });
        Ok(())
    }
}

/// Writes the rows in the other tables. The transaction is known to be open here. An error is
/// returned together with the name of the operation that failed.
async fn write(
    tx: &mut Tx,
    route: &RouteName,
    consequences: &Consequences<'_>,
) -> Result<(), (QueryError, &'static str)> {
    let doing = |doing: &'static str| move |error| (error, doing);
    if !consequences.died.is_empty() {
        tx.run(|c| dead_letters::put(c, route, &consequences.died))
            .await
            .map_err(doing("write dead letters"))?;
    }
    let done: Vec<EventId> = consequences
        .redone
        .iter()
        .map(|(event, _)| *event)
        .collect();
    for (events, word) in [
        (&done, outcome::DONE),
        (&consequences.given_up, outcome::DEAD),
    ] {
        if events.is_empty() {
            continue;
        }
        tx.run(|c| retries::delete(c, route, events))
            .await
            .map_err(doing("end retries"))?;
        tx.run(|c| receipts::update_outcome(c, route, events, word))
            .await
            .map_err(doing("move receipts"))?;
    }
    if !consequences.redone.is_empty() {
        let took = tx.began.elapsed();
        tx.run(|c| attempts::insert_done(c, route, &consequences.redone, took))
            .await
            .map_err(doing("record attempts"))?;
    }
    Ok(())
}
