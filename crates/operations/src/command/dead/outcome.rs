//! Waits for the outcomes of dead letters that were replayed, and counts them.

use std::time::Duration;

use hookbox_driver::{ClaimState, DeadRow, Fault, Ledger};
use hookbox_event::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::Operator;

/// The pause between two polls of the store.
const POLL_EVERY: Duration = Duration::from_millis(250);

/// The number of dead letters whose states are read by one statement.
const PAGE: usize = 500;

/// What became of dead letters that were replayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ReplayOutcome {
    /// How many of the replayed dead letters are done: their effects are committed.
    pub done: u64,
    /// How many of the replayed dead letters became dead letters again.
    pub dead_again: u64,
    /// How many of the replayed dead letters are stale: a newer event of the same key was done
    /// before them.
    pub stale: u64,
    /// How many of the replayed dead letters had no outcome yet when the wait ended.
    pub undecided: u64,
}

/// A dead letter that was selected for a replay. `died_at` distinguishes its death before the
/// replay from a new death.
#[derive(Clone, Copy)]
pub(super) struct ReplayedDeadLetter {
    id: i64,
    died_at: Timestamp,
}

impl ReplayedDeadLetter {
    pub(super) fn of(row: &DeadRow) -> Self {
        Self {
            id: row.id,
            died_at: row.died_at,
        }
    }
}

/// Waits until every replayed dead letter has an outcome, for `wait` at most. An interrupt by the
/// operator ends the wait. An earlier interrupt, which ended the replay itself, does not: the
/// outcomes of the dead letters that were replayed before it are still of interest.
pub(super) async fn outcome(
    ledger: &dyn Ledger,
    mut undecided: Vec<ReplayedDeadLetter>,
    wait: Duration,
    operator: &mut dyn Operator,
) -> Result<ReplayOutcome, Fault> {
    let began = Instant::now();
    let interrupted_before = operator.interrupted();
    let mut outcome = ReplayOutcome::default();
    loop {
        undecided = poll(ledger, undecided, &mut outcome).await?;
        outcome.undecided = undecided.len() as u64;
        let interrupted = operator.interrupted() && !interrupted_before;
        let over = began.elapsed() >= wait || interrupted;
        if undecided.is_empty() || over {
            return Ok(outcome);
        }
        sleep(POLL_EVERY.min(wait.saturating_sub(began.elapsed()))).await;
    }
}

/// Counts the replayed dead letters that have an outcome by now, and returns the dead letters that
/// have no outcome yet.
async fn poll(
    ledger: &dyn Ledger,
    undecided: Vec<ReplayedDeadLetter>,
    outcome: &mut ReplayOutcome,
) -> Result<Vec<ReplayedDeadLetter>, Fault> {
    let mut left = Vec::new();
    for page in undecided.chunks(PAGE) {
        let ids: Vec<i64> = page.iter().map(|replayed| replayed.id).collect();
        for claim in ledger.dead_claims(&ids).await? {
            let Some(replayed) = page.iter().find(|replayed| replayed.id == claim.id) else {
                continue;
            };
            match claim.state {
                ClaimState::Done => outcome.done += 1,
                ClaimState::Stale => outcome.stale += 1,
                ClaimState::Dead if claim.died_at != replayed.died_at => outcome.dead_again += 1,
                // The time of death is the same as before the replay, so the replay left this dead
                // letter unchanged. It is not counted.
                ClaimState::Dead => {}
                ClaimState::Running | ClaimState::Retrying => left.push(*replayed),
            }
        }
    }
    Ok(left)
}
