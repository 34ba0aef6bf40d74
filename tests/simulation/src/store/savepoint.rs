//! The savepoint of a transaction, the withdrawal of claims, and a check of the effects that a
//! transaction commits.

use hookbox_driver::{CommitError, Fault, FaultKind, Outcome};
use hookbox_event::{EventId, RouteName};

use crate::tx::SimTx;

pub(super) async fn set(tx: &mut SimTx) -> Result<(), CommitError> {
    check(tx, "set a savepoint").await?;
    tx.savepoint = tx.connection.effects.len();
    Ok(())
}

/// Undoes the effects since the savepoint, also after a statement of the handler has failed.
pub(super) async fn undo(tx: &mut SimTx) -> Result<(), CommitError> {
    if tx.connection.ended {
        return Err(ended(tx));
    }
    tx.statement("undo").await?;
    let (from, to) = (tx.connection.effects.len(), tx.savepoint);
    tx.connection.effects.truncate(to);
    tx.connection.aborted = false;
    let text = format!("{} undoes {} effects", tx.process.name, from - to);
    tx.process.world.note(&text);
    Ok(())
}

/// Withdraws the claims of events. Other transactions can claim these events only after this
/// transaction has ended, because it holds the locks of the claims until then.
pub(super) async fn withdraw(
    tx: &mut SimTx,
    route: &RouteName,
    events: &[EventId],
) -> Result<(), CommitError> {
    check(tx, "withdraw claims").await?;
    for event in events {
        let on = (route.clone(), *event);
        if tx.owned.remove(&on).is_none() {
            let doing = "withdraw an event: the transaction has not claimed the event";
            return Err(Fault::plain(FaultKind::Internal, doing).into());
        }
        tx.connection.claimed.retain(|claimed| *claimed != on);
    }
    Ok(())
}

/// Runs a statement of hookbox after a handler. It fails if the handler has ended or aborted the
/// transaction.
pub(super) async fn check(tx: &SimTx, doing: &'static str) -> Result<(), CommitError> {
    if tx.connection.ended {
        return Err(ended(tx));
    }
    tx.statement(doing).await?;
    if tx.connection.aborted {
        return Err(broken());
    }
    Ok(())
}

/// I3: checks that a transaction commits only the effects of events that it also settles as done.
/// The effects of all other events must have been undone.
pub(super) fn check_undone(tx: &SimTx) {
    for effect in &tx.connection.effects {
        let is_done = tx.settled.iter().any(|one| {
            let is_it = one.route == effect.route && one.envelope.event == effect.event;
            is_it && matches!(one.outcome, Outcome::Done { .. })
        });
        if !is_done {
            let what = format!("{effect:?} is committed, but its event is not settled as done");
            tx.process.world.state().violate("I3", &what);
        }
    }
}

pub(super) fn broken() -> CommitError {
    CommitError::BrokenByHandler {
        why: "a statement of the handler failed".to_owned(),
    }
}

pub(super) fn ended(tx: &SimTx) -> CommitError {
    if let Some(run) = tx.connection.rolled_back.clone() {
        tx.process.note_end(run);
    }
    CommitError::EndedByHandler {
        why: "the handler ended the transaction".to_owned(),
    }
}
