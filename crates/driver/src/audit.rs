//! The audit log: which operator changed or read what.

use hookbox_event::Timestamp;
use serde::Serialize;

/// One row of the audit log.
#[derive(Debug, Clone, Serialize)]
pub struct AuditRow {
    /// The number of the row. It is the order in which a list of rows is read page by page.
    pub id: i64,
    /// The moment of the action.
    pub at: Timestamp,
    /// The operator who acted.
    pub actor: String,
    /// The name of the action, such as `reconcile.write_off`.
    pub action: String,
    /// What the action was applied to.
    pub subject: String,
}

/// A filter for rows of the audit log. A row must match every field that is set.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Selects only rows of this actor.
    pub actor: Option<String>,
    /// Selects only rows of this action.
    pub action: Option<String>,
    /// Selects only rows written at this moment or later.
    pub since: Option<Timestamp>,
    /// Selects only rows written before this moment.
    pub until: Option<Timestamp>,
}
