//! `dead replay`, `dead discard` and `dead restore`. The three commands change the state of dead
//! letters, and share one loop.

use std::time::Duration;

use hookbox_driver::{DeadChange, DeadFilter, DeadReason, DeadRow, Fault, Ledger};
use serde::Serialize;

use super::group::regroup_for;
use super::outcome::{ReplayOutcome, ReplayedDeadLetter, outcome};
use super::words;
use crate::command::chunks::{Chunks, Next};
use crate::operator::confirmed;
use crate::{CommandError, Operator, Problem, Source};

/// How many dead letters one transaction changes at most. The number is so small that the locks of
/// a transaction delay no other session and that an interrupt is noticed soon. It is so large that
/// a hundred thousand dead letters take about a minute.
const CHUNK: u32 = 500;

/// How many dead letters one query of the plan reads at most. The query changes nothing, but reads
/// their details, too.
const PLAN_PAGE: u32 = 1_000;

/// How many dead letters one command changes at most, whatever limit is given. The command keeps
/// the id of each dead letter that it has shown, so ten million of them take 80 MB.
const CHANGES_MAX: u64 = 10_000_000;

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
    let (matched, shown) = plan(ledger, &filter, request)
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
    if shown.is_empty() {
        return Ok(report);
    }
    if !request.yes {
        confirm(&report, shown.len() as u64, operator)?;
    }
    let mut run = Run {
        ledger,
        request,
        operator,
        report: &mut report,
        replayed: Vec::new(),
    };
    if let Err(fault) = run.change(&filter, &shown).await {
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

/// Returns how many dead letters match the filter, and the ids of those that are to be changed, in
/// order: none of them in a dry run, and no more than the limit allows.
async fn plan(
    ledger: &dyn Ledger,
    filter: &DeadFilter,
    request: &ChangeRequest,
) -> Result<(u64, Vec<i64>), Fault> {
    let most = if request.dry_run {
        0
    } else {
        request.limit.unwrap_or(CHANGES_MAX).min(CHANGES_MAX)
    };
    let mut shown: Vec<i64> = Vec::new();
    loop {
        let left = most - shown.len() as u64;
        if left == 0 {
            let matched = ledger.dead_count(filter).await?;
            return Ok((matched.max(most), shown));
        }
        let after = shown.last().copied().unwrap_or(0);
        let wanted = u32::try_from(left).unwrap_or(PLAN_PAGE).min(PLAN_PAGE);
        let rows = ledger.dead_list(filter, after, wanted).await?;
        if rows.is_empty() {
            return Ok((shown.len() as u64, shown));
        }
        shown.extend(rows.iter().map(|row| row.id));
    }
}

fn confirm(
    report: &ChangeReport,
    shown: u64,
    operator: &mut dyn Operator,
) -> Result<(), CommandError> {
    let noun = if report.matched == 1 {
        "dead letter"
    } else {
        "dead letters"
    };
    let (verb, matched, filter) = (report.change.as_str(), report.matched, &report.filter);
    let sentence = if shown < matched {
        format!("{verb} the first {shown} of {matched} {noun} ({filter}).")
    } else {
        format!("{verb} {matched} {noun} ({filter}).")
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
    /// Changes the dead letters that the operator was shown, in the order of their ids, each at
    /// most once, and no others: more of them may match the filter meanwhile, such as one that was
    /// replayed earlier and dies again.
    async fn change(&mut self, filter: &DeadFilter, shown: &[i64]) -> Result<(), Fault> {
        let mut chunks = Chunks::new(shown, CHUNK, self.request.rate);
        loop {
            // With this limit, the store stops its search at the last of the chunk.
            let (chunk, limit) = match chunks.next(self.operator).await {
                Next::Change(chunk, count) => (chunk, count),
                Next::End => return Ok(()),
                Next::Interrupted => {
                    self.report.interrupted = true;
                    return Ok(());
                }
            };
            let chosen = DeadFilter {
                ids: chunk.to_vec(),
                ..filter.clone()
            };
            // The store need not search before the first of them.
            let after = chunk.first().map_or(0, |first| first - 1);
            let rows = self.ledger.dead_list(&chosen, after, limit).await?;
            self.change_some(&chosen, &rows).await?;
        }
    }

    /// Changes those dead letters of a chunk that still match the filter.
    async fn change_some(&mut self, chosen: &DeadFilter, rows: &[DeadRow]) -> Result<(), Fault> {
        let (change, by) = (self.request.change, &self.request.by);
        let changed = run(change, self.ledger, chosen, by).await?;
        self.report.changed += changed;
        self.report.left_alone += (chosen.ids.len() as u64).saturating_sub(changed);
        if change == DeadChange::Replay {
            let undecodable = |row: &&DeadRow| row.reason == DeadReason::Undecodable;
            self.report.left_undecodable += rows.iter().filter(undecodable).count() as u64;
            self.replayed
                .extend(rows.iter().map(ReplayedDeadLetter::of));
        }
        Ok(())
    }
}
