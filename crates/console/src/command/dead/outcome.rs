//! The outcomes of dead letters that were replayed.

use std::time::Duration;

use hookbox_driver::{ClaimState, DeadRow, Fault, Ledger};
use hookbox_event::Timestamp;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::Operator;

/// Between two polls.
const POLL_EVERY: Duration = Duration::from_millis(250);

/// Dead letters of one poll's statement.
const PAGE: usize = 500;

/// The outcomes of dead letters that were replayed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ReplayOutcome {
    /// Their effects are committed.
    pub done: u64,
    /// They died again.
    pub dead_again: u64,
    /// They had no outcome when the wait was over.
    pub undecided: u64,
}

/// A dead letter that was to be replayed, and when it had died.
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

/// Waits, at most so long, until all of them are decided. An interrupt that has ended the replaying
/// does not end the wait: it reports the outcomes of those already replayed.
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

/// Counts those that are decided now. Returns those that are not.
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
                ClaimState::Dead if claim.died_at != replayed.died_at => outcome.dead_again += 1,
                // It was left unchanged: nothing was replayed.
                ClaimState::Dead => {}
                ClaimState::Running | ClaimState::Retrying => left.push(*replayed),
            }
        }
    }
    Ok(left)
}
