//! `reconcile --write-off`: what the books call missing is lost for good, as a person says.

use hookbox_driver::{AccountGap, Ledger};
use serde::Serialize;

use super::{ReconcileReport, Verdict};
use crate::operator::confirmed;
use crate::{CommandError, Operator, Source};

/// What a person says.
#[derive(Debug, Clone)]
pub struct WriteOff {
    /// Why, for the audit and for whoever asks later.
    pub why: String,
    /// Who, for the audit.
    pub by: String,
    /// Do not ask.
    pub yes: bool,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct WrittenOff {
    /// Where it was written down.
    pub source: Source,
    /// Missing receipts that were to be written off.
    pub receipts: usize,
    /// Ranges of untold numbers that were.
    pub gaps: usize,
    /// How many of both were; what has an outcome by now is left alone.
    pub written_off: u64,
    /// What the books say afterwards, which decides the exit code; null until they are read again.
    pub verdict: Option<Verdict>,
}

/// Writes off what the report names as missing or untold, after saying how much and asking. No
/// more than it names: a receipt that may still be on its way cannot be written off.
pub async fn write_off(
    ledger: &dyn Ledger,
    report: &ReconcileReport,
    request: &WriteOff,
    operator: &mut dyn Operator,
) -> Result<WrittenOff, CommandError> {
    let receipts = report.accounts.as_ref().map_or(&[][..], |it| &it.missing);
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
        "write off {} missing receipts and {} ranges of untold numbers: the books will not name \
         them again.",
        what.receipts, what.gaps
    );
    confirmed(operator, sentence)
}
