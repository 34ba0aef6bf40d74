//! Settles a batch: writes the outcome of every receipt, and the rows of other tables that follow
//! from the outcomes, such as dead letters.

use std::collections::BTreeMap;
use std::time::Duration;

use hookbox_driver::{
    CommitError, Death, EndOutcome, Fault, Outcome, ReceiptOutcome, StoredOutcome, round_after,
};
use hookbox_event::{EventId, EventNumber, RouteName};

use crate::dead_letters::{self, NewDeadLetter};
use crate::ends::DoneEnd;
use crate::server::query_error::QueryError;
use crate::tx::{Tx, changed, ended};
use crate::{attempts, compare_versions, ends, receipts, retries};

/// The rows to write in `receipts` and in the other tables, as they follow from the outcomes.
#[derive(Default)]
struct Consequences<'a> {
    receipts: Vec<receipts::OutcomeRow<'a>>,
    died: Vec<NewDeadLetter<'a>>,
    /// The ends of the events that are done.
    ended: Vec<DoneEnd>,
    /// The ends of the events that are stale.
    stale: Vec<DoneEnd>,
    /// The events that are done. Their versions, if they were compared, become the newest of their
    /// keys.
    done: Vec<(EventId, EventNumber)>,
    /// The events whose retry or replay ended, by the outcome that their waiting receipts get.
    redone: BTreeMap<StoredOutcome, Vec<EventNumber>>,
    /// The retries and replays that succeeded: the event, the number of its attempt, and the age of
    /// the transaction, which is at least the duration of the attempt.
    succeeded: Vec<(EventNumber, u32, Duration)>,
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
    let done = finals(tx, route)?;
    let (rows, ends) = (&consequences.receipts, &consequences.ended);
    let inserted = tx
        .run(|c| receipts::insert(c, &transaction, route, rows, &done, ends))
        .await;
    match inserted {
        Ok(found) if !found.is_same => return Err(ended()),
        Ok(found) if !found.is_whole => return Err(changed()),
        Ok(_) => {}
        Err(error) => return Err(tx.attribute(error, "write the outcomes of receipts").await),
    }
    if let Err((error, doing)) = write(tx, route, &consequences).await {
        return Err(tx.attribute(error, doing).await);
    }
    // `receipts::insert` has checked only the claims on this route, so claims on other routes still
    // need the guard.
    tx.is_proved = tx.owned.keys().all(|(of, _)| of == route);
    Ok(())
}

/// Returns the events on the route whose claims stay as this transaction has inserted them.
fn finals(tx: &Tx, route: &RouteName) -> Result<Vec<EventNumber>, Fault> {
    let owned = tx.owned.iter();
    let finals = owned.filter(|((of, _), owned)| of == route && owned.is_final());
    finals.map(|((_, event), _)| tx.number(event)).collect()
}

fn sort<'a>(
    tx: &mut Tx,
    route: &RouteName,
    settled: &'a [ReceiptOutcome<'a>],
) -> Result<Consequences<'a>, Fault> {
    let mut consequences = Consequences::default();
    for one in settled {
        let (envelope, outcome) = (one.envelope, &one.outcome);
        if !matches!(outcome, Outcome::Duplicate) {
            consequences.end(tx, route, envelope.event, outcome)?;
        }
        consequences.receipts.push(receipts::OutcomeRow {
            event: tx.number(&envelope.event)?,
            envelope,
            word: outcome.into(),
            other_digest: one.other_digest,
        });
    }
    Ok(consequences)
}

impl<'a> Consequences<'a> {
    /// Records the final state of the claim of one event, as it follows from the outcome, and adds
    /// the rows that are to be written. This transaction has claimed the event.
    fn end(
        &mut self,
        tx: &mut Tx,
        route: &RouteName,
        event: EventId,
        outcome: &'a Outcome,
    ) -> Result<(), Fault> {
        let (number, took) = (tx.number(&event)?, tx.began.elapsed());
        let owned = tx.owned_mut(route, &event)?;
        let Some(end) = outcome.end_of_claim(owned.attempt, owned.granted) else {
            return Ok(());
        };
        owned.end = Some((end.state, end.attempts));
        let round = round_after(owned.attempts_before);
        match end.died {
            Some(Death { reason, detail }) => self.died.push(NewDeadLetter {
                event: number,
                reason,
                detail,
                attempts: end.attempts,
                round,
            }),
            None => {
                let ended = DoneEnd {
                    event: number,
                    round,
                    attempts: end.attempts,
                };
                match end.outcome {
                    EndOutcome::Stale => self.stale.push(ended),
                    EndOutcome::Done | EndOutcome::Dead | EndOutcome::Discarded => {
                        self.ended.push(ended);
                        self.done.push((event, number));
                    }
                }
            }
        }
        if let Some(word) = end.ends_retry {
            self.redone.entry(word).or_default().push(number);
        }
        if end.records_attempt {
            self.succeeded.push((number, end.attempts, took));
        }
        Ok(())
    }
}

/// Writes the rows in the other tables. The caller has checked that the transaction is open. An
/// error is returned together with the name of the operation that failed.
async fn write(
    tx: &mut Tx,
    route: &RouteName,
    consequences: &Consequences<'_>,
) -> Result<(), (QueryError, &'static str)> {
    let doing = |doing: &'static str| move |error| (error, doing);
    compare_versions::raise(tx, route, &consequences.done)
        .await
        .map_err(doing("store the newest versions of keys"))?;
    if !consequences.stale.is_empty() {
        tx.run(|c| ends::insert_stale(c, route, &consequences.stale))
            .await
            .map_err(doing("write the ends of stale events"))?;
    }
    if !consequences.died.is_empty() {
        tx.run(|c| dead_letters::put(c, route, &consequences.died))
            .await
            .map_err(doing("write dead letters"))?;
    }
    for (word, events) in &consequences.redone {
        tx.run(|c| retries::delete(c, route, events))
            .await
            .map_err(doing("delete the retries of settled events"))?;
        tx.run(|c| receipts::update_outcome(c, route, events, *word))
            .await
            .map_err(doing("update the outcomes of waiting receipts"))?;
    }
    if !consequences.succeeded.is_empty() {
        tx.run(|c| attempts::insert_done(c, route, &consequences.succeeded))
            .await
            .map_err(doing("record successful attempts"))?;
    }
    Ok(())
}
