//! The audit: what operators did and saw.

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

/// Which rows. Every field narrows.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only of this actor.
    pub actor: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only then or later.
    pub since: Option<Timestamp>,
    /// Only before.
    pub until: Option<Timestamp>,
}
