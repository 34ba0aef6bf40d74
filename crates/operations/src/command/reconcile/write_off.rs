//! `reconcile --write-off`: an operator declares missing receipts lost, so that they are no longer
//! reported as missing.

use hookbox_driver::{AccountGap, Ledger};
use serde::Serialize;

use super::reconcile_report::{ReconcileReport, Verdict};
use crate::operator::confirmed;
use crate::{CommandError, Operator, Source};

/// What the operator requests with `reconcile --write-off`.
#[derive(Debug, Clone)]
pub struct WriteOff {
    /// The reason that the operator gives, for the audit.
    pub why: String,
    /// The name of the operator, for the audit.
    pub by: String,
    /// Whether to skip the question: `--yes`.
    pub yes: bool,
}

/// The result of `reconcile --write-off`.
#[derive(Debug, Clone, Serialize)]
pub struct WrittenOff {
    /// Where the write-off was recorded (broker or store): always the store.
    pub source: Source,
    /// The number of missing receipts that were selected.
    pub receipts: usize,
    /// The number of unreported ranges of sequence numbers that were selected.
    pub gaps: usize,
    /// How many receipts and ranges of sequence numbers were written off. Receipts that have got an
    /// outcome in the meantime are left unchanged.
    pub written_off: u64,
    /// The verdict after the write-off, which decides the exit code; null until `reconcile` has
    /// read the accounting again.
    pub verdict: Option<Verdict>,
}

/// Writes off what the report lists as missing or unreported. First shows how much that is and asks
/// for confirmation. Nothing else can be written off, in particular no receipt that may still be in
/// flight.
pub async fn write_off(
    ledger: &dyn Ledger,
    report: &ReconcileReport,
    request: &WriteOff,
    operator: &mut dyn Operator,
) -> Result<WrittenOff, CommandError> {
    // The operator may have interrupted the wait before the report. That stops the whole command.
    if operator.interrupted() {
        return Err(CommandError::Interrupted);
    }
    let receipts = report
        .accept_reports
        .as_ref()
        .map_or(&[][..], |it| &it.missing);
    let gaps: Vec<AccountGap> = report.sure_gaps().cloned().collect();
    let mut done = WrittenOff {
        source: Source::Store,
        receipts: receipts.len(),
        gaps: gaps.len(),
        written_off: 0,
        verdict: None,
    };
    if receipts.is_empty() && gaps.is_empty() {
        return Ok(done);
    }
    if !request.yes {
        confirm(&done, operator)?;
    }
    done.written_off = ledger
        .write_off(receipts, &gaps, &request.by, &request.why)
        .await
        .map_err(CommandError::store(
            "write off the missing receipts and ranges of numbers",
        ))?;
    Ok(done)
}

fn confirm(what: &WrittenOff, operator: &mut dyn Operator) -> Result<(), CommandError> {
    let sentence = format!(
        "write off {} missing receipts and {} unreported ranges of numbers: `hookbox reconcile` \
         will no longer list them.",
        what.receipts, what.gaps
    );
    confirmed(operator, sentence)
}
