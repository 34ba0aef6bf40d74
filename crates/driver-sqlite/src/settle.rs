//! Settles a batch: writes the outcome of every receipt, and the rows of other tables that follow
//! from the outcomes, in the same transaction as the handler's effects.

use std::collections::BTreeMap;
use std::time::Duration;

use hookbox_driver::{
    CommitError, Death, EndOutcome, Fault, FaultKind, Outcome, ReceiptOutcome, StoredOutcome,
    round_after,
};
use hookbox_event::{EventId, EventNumber, RouteName};

use crate::dead_letters::{self, NewDeadLetter};
use crate::diagnose::fault;
use crate::ends::{self, NewEnd};
use crate::tx::Tx;
use crate::{attempts, compare_versions, moment, receipts, retries};

/// The rows to write in `receipts` and in the other tables, as they follow from the outcomes.
#[derive(Default)]
struct Consequences<'a> {
    receipts: Vec<receipts::OutcomeRow<'a>>,
    died: Vec<NewDeadLetter<'a>>,
    /// The ends of the events that are done or stale.
    ended: Vec<NewEnd>,
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
/// letters takes two statements. The final states of the claims are written later, by the guard
/// before the commit.
pub(crate) async fn settle(
    tx: &mut Tx,
    route: &RouteName,
    settled: &[ReceiptOutcome<'_>],
) -> Result<(), CommitError> {
    let consequences = sort(tx, route, settled)?;
    write(tx, route, &consequences)
        .await
        .map_err(fault("write the outcomes of a batch"))?;
    Ok(())
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
            envelope,
            event: number(tx, &envelope.event)?,
            word: outcome.into(),
            other_digest: one.other_digest,
        });
    }
    Ok(consequences)
}

/// Returns the number of an event whose claim this transaction has looked up.
pub(crate) fn number(tx: &Tx, event: &EventId) -> Result<EventNumber, Fault> {
    tx.numbers.get(event).copied().ok_or_else(unclaimed)
}

pub(crate) fn unclaimed() -> Fault {
    let what = "settle, withdraw or lease an event that this transaction has not claimed";
    Fault::plain(FaultKind::Internal, what)
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
        let (number, took) = (number(tx, &event)?, tx.claimed_at.elapsed());
        let owned = tx.owned.get_mut(&(route.clone(), event));
        let owned = owned.ok_or_else(unclaimed)?;
        let claimed = owned.attempts.saturating_add(1);
        let Some(end) = outcome.end_of_claim(claimed, owned.granted) else {
            return Ok(());
        };
        owned.settled = Some((end.state, end.attempts));
        let round = round_after(owned.attempts_before);
        match end.died {
            Some(Death { reason, detail }) => self.died.push(NewDeadLetter {
                event: number,
                reason,
                detail,
                attempts: end.attempts,
                round,
            }),
            None => self.ended.push(NewEnd {
                event: number,
                outcome: end.outcome,
                round,
                attempts: end.attempts,
            }),
        }
        match end.outcome {
            EndOutcome::Done => self.done.push((event, number)),
            EndOutcome::Stale | EndOutcome::Dead | EndOutcome::Discarded => {}
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

/// Writes the rows in all tables. The caller has checked that the transaction is open.
async fn write(
    tx: &mut Tx,
    route: &RouteName,
    consequences: &Consequences<'_>,
) -> sqlx::Result<()> {
    let now = moment::now();
    compare_versions::raise(tx, route, &consequences.done, now).await?;
    let connection = tx.connection();
    receipts::insert(connection, route, &consequences.receipts, now).await?;
    ends::insert(connection, route, consequences.ended.iter().copied(), now).await?;
    if !consequences.died.is_empty() {
        dead_letters::put(connection, route, &consequences.died, now).await?;
    }
    for (word, events) in &consequences.redone {
        retries::delete(connection, route, events).await?;
        receipts::update_outcome(connection, route, events, *word, now).await?;
    }
    if !consequences.succeeded.is_empty() {
        attempts::insert_done(connection, route, &consequences.succeeded, now).await?;
    }
    Ok(())
}
