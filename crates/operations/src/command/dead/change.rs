//! `dead replay`, `dead discard` and `dead restore`. The three commands change the state of dead
//! letters, and share one loop.

use std::time::Duration;

use hookbox_driver::{DeadChange, DeadFilter, DeadReason, DeadRow, Fault, Ledger};
use serde::Serialize;

use super::group::regroup_for;
use super::outcome::{ReplayOutcome, ReplayedDeadLetter, outcome};
use super::words;
use crate::command::pace::Pace;
use crate::operator::confirmed;
use crate::{CommandError, Operator, Problem, Source};

/// How many dead letters one transaction changes at most. The number is so small that the locks of
/// a transaction delay no other session and that an interrupt is noticed soon. It is so large that
/// a hundred thousand dead letters take about a minute.
const CHUNK: u32 = 500;

/// Which change to make, to which dead letters, and how.
#[derive(Debug, Clone)]
pub struct ChangeRequest {
    /// The change to make.
    pub change: DeadChange,
    /// Which dead letters to change. The state in this filter is ignored, because the change
    /// determines which state they must have.
    pub filter: DeadFilter,
    /// Whether an empty filter, which selects all dead letters, is intended: `--all`.
    pub all: bool,
    /// Whether to report only how many dead letters would be changed.
    pub dry_run: bool,
    /// Whether to skip the question: `--yes`.
    pub yes: bool,
    /// How many dead letters to change per second at most; `None` for as fast as possible.
    pub rate: Option<f64>,
    /// How many dead letters to change in all at most; `None` for no limit.
    pub limit: Option<u64>,
    /// How long to wait at most, after a replay, for the outcomes of the replayed dead letters.
    pub wait: Duration,
    /// The name of the operator, for the audit.
    pub by: String,
}

/// The result of a change.
#[derive(Debug, Clone, Serialize)]
pub struct ChangeReport {
    /// Where the numbers come from (broker or store): always the store.
    pub source: Source,
    /// The change that was made.
    pub change: DeadChange,
    /// The filter that selected the dead letters, in words.
    pub filter: String,
    /// How many dead letters matched the filter at the start and were in a state in which this
    /// change applies to them.
    pub matched: u64,
    /// How many dead letters were changed.
    pub changed: u64,
    /// How many dead letters were selected and left unchanged: another operator had changed them in
    /// the meantime, or they have no event that could be replayed.
    pub left_alone: u64,
    /// How many of the dead letters left unchanged are undecodable bytes, which cannot be replayed.
    pub left_undecodable: u64,
    /// How many of the given ids belong to no dead letter, or to a dead letter whose state does not
    /// allow this change.
    pub not_found: u64,
    /// The outcomes of replayed dead letters; null for other changes.
    pub outcome: Option<ReplayOutcome>,
    /// Whether this was a dry run, which only reports how many dead letters would be changed.
    pub dry_run: bool,
    /// Whether the operator interrupted the command between two transactions. What had been changed
    /// before the interrupt stays changed.
    pub interrupted: bool,
    /// What failed while the dead letters were changed. What had been changed before the failure
    /// stays changed.
    pub problems: Vec<Problem>,
}

async fn run(
    change: DeadChange,
    ledger: &dyn Ledger,
    ids: &DeadFilter,
    by: &str,
) -> Result<u64, Fault> {
    match change {
        DeadChange::Replay => ledger.dead_replay(ids, CHUNK, by).await,
        DeadChange::Discard => ledger.dead_discard(ids, CHUNK, by).await,
        DeadChange::Restore => ledger.dead_restore(ids, CHUNK, by).await,
    }
}

/// Changes dead letters. Before that, shows how many would be changed, and asks for confirmation.
pub async fn change(
    ledger: &dyn Ledger,
    request: &ChangeRequest,
    operator: &mut dyn Operator,
) -> Result<ChangeReport, CommandError> {
    let change = request.change;
    let mut filter = request.filter.clone();
    filter.state = None;
    if !filter.is_narrow() && !request.all {
        return Err(CommandError::NothingSelected {
            action: change.as_str(),
        });
    }
    filter.ids.sort_unstable();
    filter.ids.dedup();
    regroup_for(ledger, &filter).await?;
    let described = words(&filter);
    filter.state = Some(change.from());
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
        outcome: None,
        dry_run: request.dry_run,
        interrupted: false,
        problems: Vec::new(),
    };
    if request.dry_run || matched == 0 {
        return Ok(report);
    }
    if !request.yes {
        confirm(&report, request.limit, operator)?;
    }
    let mut run = Run {
        ledger,
        request,
        operator,
        report: &mut report,
        replayed: Vec::new(),
    };
    if let Err(fault) = run.change(&filter).await {
        run.report.problems.push(Problem::of(Source::Store, &fault));
    }
    let replayed = std::mem::take(&mut run.replayed);
    if change == DeadChange::Replay {
        match outcome(ledger, replayed, request.wait, operator).await {
            Ok(outcome) => report.outcome = Some(outcome),
            Err(fault) => report.problems.push(Problem::of(Source::Store, &fault)),
        }
    }
    Ok(report)
}

fn confirm(
    report: &ChangeReport,
    limit: Option<u64>,
    operator: &mut dyn Operator,
) -> Result<(), CommandError> {
    let noun = if report.matched == 1 {
        "dead letter"
    } else {
        "dead letters"
    };
    let (verb, matched, filter) = (report.change.as_str(), report.matched, &report.filter);
    let sentence = match limit.filter(|limit| *limit < matched) {
        Some(limit) => format!("{verb} the first {limit} of {matched} {noun} ({filter})."),
        None => format!("{verb} {matched} {noun} ({filter})."),
    };
    confirmed(operator, sentence)
}

/// A change that is in progress.
struct Run<'a> {
    ledger: &'a dyn Ledger,
    request: &'a ChangeRequest,
    operator: &'a mut dyn Operator,
    report: &'a mut ChangeReport,
    /// The dead letters that the replay has selected so far.
    replayed: Vec<ReplayedDeadLetter>,
}

impl Run<'_> {
    /// Changes dead letters in the order of their ids, each at most once: a dead letter that is
    /// replayed and dies again at once would otherwise be replayed for ever. Never changes more
    /// dead letters than the operator has confirmed.
    async fn change(&mut self, filter: &DeadFilter) -> Result<(), Fault> {
        let (request, mut after) = (self.request, 0);
        let total = request.limit.unwrap_or(u64::MAX).min(self.report.matched);
        let pace = Pace::new(request.rate);
        loop {
            let seen = self.report.changed + self.report.left_alone;
            self.operator.progress(seen, total);
            let left = u32::try_from(total.saturating_sub(seen)).unwrap_or(CHUNK);
            if left == 0 {
                return Ok(());
            }
            pace.wait(seen, self.operator).await;
            if self.operator.interrupted() {
                self.report.interrupted = true;
                return Ok(());
            }
            let wanted = pace.chunk(CHUNK).min(left);
            let rows = self.ledger.dead_list(filter, after, wanted).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = last.id;
            self.change_some(filter, &rows).await?;
        }
    }

    async fn change_some(&mut self, filter: &DeadFilter, rows: &[DeadRow]) -> Result<(), Fault> {
        let chosen = DeadFilter {
            ids: rows.iter().map(|row| row.id).collect(),
            ..filter.clone()
        };
        let (change, by) = (self.request.change, &self.request.by);
        let changed = run(change, self.ledger, &chosen, by).await?;
        self.report.changed += changed;
        self.report.left_alone += (rows.len() as u64).saturating_sub(changed);
        if change == DeadChange::Replay {
            let undecodable = |row: &&DeadRow| row.reason == DeadReason::Undecodable;
            self.report.left_undecodable += rows.iter().filter(undecodable).count() as u64;
            self.replayed
                .extend(rows.iter().map(ReplayedDeadLetter::of));
        }
        Ok(())
    }
}
