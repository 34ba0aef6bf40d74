//! `audit list`: what operators did and read.

use hookbox_driver::{AuditFilter, AuditRow, Ledger};
use serde::Serialize;

use super::page;
use crate::{CommandError, Source};

/// Rows of the audit, newest first.
#[derive(Debug, Clone, Serialize)]
pub struct AuditReport {
    /// The source of the rows: the store.
    pub source: Source,
    /// Those of this page.
    pub audit: Vec<AuditLine>,
    /// The cursor of the next page: the value of `--after`; null at the end.
    pub next: Option<i64>,
}

/// One row.
#[derive(Debug, Clone, Serialize)]
pub struct AuditLine {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: String,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// On what.
    pub subject: String,
}

/// Lists rows with an id below `before`.
pub async fn list(
    ledger: &dyn Ledger,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: u32,
) -> Result<AuditReport, CommandError> {
    let mut rows = ledger
        .audits(filter, before, page::wanted(limit))
        .await
        .map_err(CommandError::store("read the audit"))?;
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
