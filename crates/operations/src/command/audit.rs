//! `audit list`: lists what operators have changed, and which bodies they have read.

use hookbox_driver::{AuditFilter, AuditRow, Ledger};
use serde::Serialize;

use super::page;
use crate::{CommandError, Source};

/// Rows of the audit, the newest first.
#[derive(Debug, Clone, Serialize)]
pub struct AuditReport {
    /// Where the rows come from (broker or store): always the store.
    pub source: Source,
    /// The rows of this page.
    pub audit: Vec<AuditLine>,
    /// The cursor of the next page, which is the value of `--after`; null on the last page.
    pub next: Option<i64>,
}

/// One row of the audit.
#[derive(Debug, Clone, Serialize)]
pub struct AuditLine {
    /// The number of the row, which grows with each new row.
    pub id: i64,
    /// When the action was recorded.
    pub at: String,
    /// The operator who performed the action.
    pub actor: String,
    /// The name of the action, such as `dead.replay`.
    pub action: String,
    /// What the action was applied to.
    pub subject: String,
}

/// Lists audit rows whose id is smaller than `before`, the newest first.
pub async fn list(
    ledger: &dyn Ledger,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: u32,
) -> Result<AuditReport, CommandError> {
    let mut rows = ledger
        .audits(filter, before, page::wanted(limit))
        .await
        .map_err(CommandError::store("list the rows of the audit"))?;
    let next = page::cut(&mut rows, limit).map(|last| last.id);
    let line = |row: &AuditRow| AuditLine {
        id: row.id,
        at: row.at.to_string(),
        actor: row.actor.clone(),
        action: row.action.clone(),
        subject: row.subject.clone(),
    };
    Ok(AuditReport {
        source: Source::Store,
        audit: rows.iter().map(line).collect(),
        next,
    })
}
