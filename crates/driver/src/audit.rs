//! The audit: a record of what operators changed and read.

use hookbox_event::Timestamp;
use serde::Serialize;

/// One row of the audit.
#[derive(Debug, Clone, Serialize)]
pub struct AuditRow {
    /// Its number.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub action: String,
    /// On what.
    pub subject: String,
}

/// A filter for rows of the audit. A row must match every field that is set.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Keeps only rows of this actor.
    pub actor: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Keeps only rows written at this moment or later.
    pub since: Option<Timestamp>,
    /// Only before.
    pub until: Option<Timestamp>,
}
