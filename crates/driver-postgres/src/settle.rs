//! Settling a batch: the outcome of every receipt, and what follows from it in other tables.

use hookbox_driver::{ClaimState, CommitError, DeadReason, Fault, Outcome, Settled};
use hookbox_event::{Envelope, EventId, RouteName};

use crate::connection::AskError;
use crate::dead_letters::{self, Died};
use crate::receipts::{self, outcome};
use crate::tx::{Tx, ended};
use crate::{attempts, retries};

/// What follows from the outcomes, by table.
#[derive(Default)]
struct Follow<'a> {
    receipts: Vec<receipts::Outcome<'a>>,
    died: Vec<Died<'a>>,
    /// Retries and replays that came to their end well.
    redone: Vec<(EventId, u32)>,
    /// Retries and replays that were given up.
    given_up: Vec<EventId>,
}

/// See [`hookbox_driver::Store::settle`]. On the ordinary path this is one statement.
pub(crate) async fn settle(
    tx: &mut Tx,
    route: &RouteName,
    settled: &[Settled<'_>],
) -> Result<(), CommitError> {
    if settled.is_empty() {
        return Ok(());
    }
    let follow = sort(tx, route, settled)?;
    let transaction = tx.id.clone().unwrap_or_default();
    let inserted = tx
        .run(|c| receipts::insert(c, &transaction, route, &follow.receipts))
        .await;
    match inserted {
        Ok(true) => {}
        Ok(false) => return Err(ended()),
        Err(error) => return Err(tx.blame(error, "write outcomes").await),
    }
    match write(tx, route, &follow).await {
        Ok(()) => Ok(()),
        Err((error, doing)) => Err(tx.blame(error, doing).await),
    }
}

fn sort<'a>(
    tx: &mut Tx,
    route: &RouteName,
    settled: &'a [Settled<'a>],
) -> Result<Follow<'a>, Fault> {
    let mut follow = Follow::default();
    for one in settled {
        let (envelope, outcome) = (one.envelope, &one.outcome);
        let word = match outcome {
            Outcome::Duplicate => outcome::DUPLICATE,
            Outcome::Done { attempt } => {
                let owned = tx.owned_mut(route, &envelope.event)?;
                owned.end = Some((ClaimState::Done, *attempt));
                if owned.granted {
                    follow.redone.push((envelope.event, *attempt));
                }
                outcome::DONE
            }
            Outcome::Conflict { detail } => {
                follow.give_up(tx, route, envelope, DeadReason::Conflict, detail)?;
                outcome::CONFLICT
            }
            Outcome::Dead { reason, detail } => {
                follow.give_up(tx, route, envelope, *reason, detail)?;
                outcome::DEAD
            }
        };
        follow.receipts.push(receipts::Outcome {
            envelope,
            word,
            other_digest: one.other_digest,
        });
    }
    Ok(follow)
}

impl<'a> Follow<'a> {
    /// The handler did not run (again), so the attempt that was claimed was not made.
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
        self.died.push(Died {
            event: envelope.event,
            reason,
            detail,
            attempts,
        });
        Ok(())
    }
}

/// The transaction is known to be alive here. An error comes with what was being done.
async fn write(
    tx: &mut Tx,
    route: &RouteName,
    follow: &Follow<'_>,
) -> Result<(), (AskError, &'static str)> {
    let doing = |doing: &'static str| move |error| (error, doing);
    if !follow.died.is_empty() {
        tx.run(|c| dead_letters::put(c, route, &follow.died))
            .await
            .map_err(doing("write dead letters"))?;
    }
    let done: Vec<EventId> = follow.redone.iter().map(|(event, _)| *event).collect();
    for (events, word) in [(&done, outcome::DONE), (&follow.given_up, outcome::DEAD)] {
        if events.is_empty() {
            continue;
        }
        tx.run(|c| retries::delete(c, route, events))
            .await
            .map_err(doing("end retries"))?;
        tx.run(|c| receipts::follow(c, route, events, word))
            .await
            .map_err(doing("move receipts"))?;
    }
    if !follow.redone.is_empty() {
        let took = tx.began.elapsed();
        tx.run(|c| attempts::insert_done(c, route, &follow.redone, took))
            .await
            .map_err(doing("record attempts"))?;
    }
    Ok(())
}
