//! `reconcile --write-off`: an operator declares what is missing lost for good.

use hookbox_driver::{AccountGap, Ledger};
use serde::Serialize;

use super::{ReconcileReport, Verdict};
use crate::operator::confirmed;
use crate::{CommandError, Operator, Source};

/// The operator's request.
#[derive(Debug, Clone)]
pub struct WriteOff {
    /// Why, for the audit.
    pub why: String,
    /// The operator, for the audit.
    pub by: String,
    /// Skip the question.
    pub yes: bool,
}

/// The result.
#[derive(Debug, Clone, Serialize)]
pub struct WrittenOff {
    /// The source: the store, which recorded it.
    pub source: Source,
    /// Missing receipts that were to be written off.
    pub receipts: usize,
    /// Unreported ranges of numbers that were to be written off.
    pub gaps: usize,
    /// How many of both were; what has an outcome by now is left unchanged.
    pub written_off: u64,
    /// The verdict afterwards, which decides the exit code; null until the accounting is read
    /// again.
    pub verdict: Option<Verdict>,
}

/// Writes off what the report names as missing or unreported, after showing how much and asking. No
/// more than it names: a receipt that may still be in flight cannot be written off.
pub async fn write_off(
    ledger: &dyn Ledger,
    report: &ReconcileReport,
    request: &WriteOff,
    operator: &mut dyn Operator,
) -> Result<WrittenOff, CommandError> {
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
        .map_err(CommandError::store("write off what is missing"))?;
    Ok(done)
}

fn confirm(what: &WrittenOff, operator: &mut dyn Operator) -> Result<(), CommandError> {
    let sentence = format!(
        "write off {} missing receipts and {} unreported ranges of numbers: they will not be \
         reported again.",
        what.receipts, what.gaps
    );
    confirmed(operator, sentence)
}
