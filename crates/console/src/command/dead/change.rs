//! `dead replay`, `dead discard` and `dead restore`: one loop for three changes.

use hookbox_driver::{DeadFilter, DeadReason, DeadState, Fault, Ledger};
use serde::Serialize;

use super::words;
use crate::operator::confirmed;
use crate::{CommandError, Operator, Problem, Source};

/// Dead letters of one transaction. Small enough that nobody waits for its locks and that an
/// interrupt is heard soon, large enough that a hundred thousand are a matter of a minute.
const CHUNK: u32 = 500;

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Make them due at once, with a fresh round of attempts.
    Replay,
    /// Mark them as not to be replayed. Nothing is deleted.
    Discard,
    /// Take a discard back.
    Restore,
}

/// What is to be changed, and how.
#[derive(Debug, Clone)]
pub struct ChangeRequest {
    /// What to do.
    pub change: Change,
    /// To which. Its state is set by the change.
    pub filter: DeadFilter,
    /// Whether an empty filter was meant: `--all`.
    pub all: bool,
    /// Only say how many it would be.
    pub dry_run: bool,
    /// Do not ask.
    pub yes: bool,
    /// Who does it, for the audit.
    pub by: String,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct ChangeReport {
    /// Where it comes from: the store.
    pub source: Source,
    /// What was to be done.
    pub change: Change,
    /// To which, in words.
    pub filter: String,
    /// How many were in the right state when it began.
    pub matched: u64,
    /// How many were changed.
    pub changed: u64,
    /// How many were looked at and left as they were: somebody else was faster, or there is
    /// nothing to replay.
    pub left_alone: u64,
    /// Of those left alone, how many are bytes that were never an event.
    pub left_undecodable: u64,
    /// How many ids were named that are no dead letter in the right state.
    pub not_found: u64,
    /// Whether it was only a rehearsal.
    pub dry_run: bool,
    /// Whether it was interrupted between two chunks; what was changed stays changed.
    pub interrupted: bool,
    /// What went wrong on the way; what was changed stays changed.
    pub problems: Vec<Problem>,
}

impl Change {
    /// The word: "replay".
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Replay => "replay",
            Change::Discard => "discard",
            Change::Restore => "restore",
        }
    }

    fn takes(self) -> DeadState {
        match self {
            Change::Replay | Change::Discard => DeadState::Dead,
            Change::Restore => DeadState::Discarded,
        }
    }

    async fn run(self, ledger: &dyn Ledger, ids: &DeadFilter, by: &str) -> Result<u64, Fault> {
        match self {
            Change::Replay => ledger.dead_replay(ids, CHUNK, by).await,
            Change::Discard => ledger.dead_discard(ids, CHUNK, by).await,
            Change::Restore => ledger.dead_restore(ids, CHUNK, by).await,
        }
    }
}

/// Changes dead letters, after saying how many and asking.
pub async fn change(
    ledger: &dyn Ledger,
    request: &ChangeRequest,
    operator: &mut dyn Operator,
) -> Result<ChangeReport, CommandError> {
    let change = request.change;
    let mut filter = request.filter.clone();
    filter.state = None;
    let everything = filter.ids.is_empty() && filter.route.is_none() && filter.topic.is_none();
    if everything && filter.reason.is_none() && !request.all {
        return Err(CommandError::NothingSelected {
            action: change.as_str(),
        });
    }
    filter.ids.sort_unstable();
    filter.ids.dedup();
    let described = words(&filter);
    filter.state = Some(change.takes());
    let matched = ledger
        .dead_count(&filter)
        .await
        .map_err(CommandError::store("count the dead letters"))?;
    let mut report = ChangeReport {
        source: Source::Store,
        change,
        filter: described,
        matched,
        changed: 0,
        left_alone: 0,
        left_undecodable: 0,
        not_found: (filter.ids.len() as u64).saturating_sub(matched),
        dry_run: request.dry_run,
        interrupted: false,
        problems: Vec::new(),
    };
    if request.dry_run || matched == 0 {
        return Ok(report);
    }
    if !request.yes {
        confirm(&report, operator)?;
    }
    if let Err(fault) = in_chunks(ledger, &filter, &request.by, &mut report, operator).await {
        report.problems.push(Problem::of(Source::Store, &fault));
    }
    Ok(report)
}

fn confirm(report: &ChangeReport, operator: &mut dyn Operator) -> Result<(), CommandError> {
    let letters = if report.matched == 1 {
        "dead letter"
    } else {
        "dead letters"
    };
    let (verb, matched, filter) = (report.change.as_str(), report.matched, &report.filter);
    let sentence = format!("{verb} {matched} {letters} ({filter}).");
    confirmed(operator, sentence)
}

/// Walks the ids upwards, so that each is looked at once: a replayed one that dies again at once
/// must not be taken again, for ever. No more are changed than were asked about.
async fn in_chunks(
    ledger: &dyn Ledger,
    filter: &DeadFilter,
    by: &str,
    report: &mut ChangeReport,
    operator: &mut dyn Operator,
) -> Result<(), Fault> {
    let mut after = 0;
    loop {
        let seen = report.changed + report.left_alone;
        operator.progress(seen, report.matched);
        let wanted = CHUNK.min(u32::try_from(report.matched.saturating_sub(seen)).unwrap_or(CHUNK));
        if wanted == 0 {
            return Ok(());
        }
        if operator.interrupted() {
            report.interrupted = true;
            return Ok(());
        }
        let rows = ledger.dead_list(filter, after, wanted).await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.id;
        let chosen = DeadFilter {
            ids: rows.iter().map(|row| row.id).collect(),
            ..filter.clone()
        };
        let changed = report.change.run(ledger, &chosen, by).await?;
        report.changed += changed;
        report.left_alone += (rows.len() as u64).saturating_sub(changed);
        if report.change == Change::Replay {
            let undecodable =
                |row: &&hookbox_driver::DeadRow| row.reason == DeadReason::Undecodable;
            report.left_undecodable += rows.iter().filter(undecodable).count() as u64;
        }
    }
}
