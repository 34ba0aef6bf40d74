//! `targets list`: the targets of external calls, and whether calls are made to them.

use hookbox_driver::{BreakerState, Ledger, TargetRow};
use serde::Serialize;

use crate::{CommandError, Source};

/// The targets of external calls, in the order of their names.
#[derive(Debug, Clone, Serialize)]
pub struct TargetsReport {
    /// Where the rows come from (broker or store): always the store.
    pub source: Source,
    /// The targets.
    pub targets: Vec<TargetLine>,
}

/// The state of one target.
#[derive(Debug, Clone, Serialize)]
pub struct TargetLine {
    /// The name of the target.
    pub target: String,
    /// The state of the circuit breaker: closed (calls are made), open (no calls are made) or
    /// half_open (one call at a time probes the target).
    pub breaker: BreakerState,
    /// Until when no calls are made, because the breaker is open or the target asked for a pause;
    /// null when calls may be made.
    pub blocked_until: Option<String>,
    /// The number of calls in flight, of all workers.
    pub in_flight: u64,
    /// The number of calls in a row that did not reach the target. Several such calls in a row for
    /// the same event count as one.
    pub faults: u32,
    /// Why the last call that did not reach the target failed, or how the target asked for a pause;
    /// null when neither has happened. The error is kept when the target answers again.
    pub last_error: Option<String>,
    /// When this error was recorded.
    pub last_error_at: Option<String>,
    #[serde(skip)]
    pub(crate) is_in_trouble: bool,
}

impl TargetLine {
    fn of(row: &TargetRow) -> Self {
        Self {
            target: row.target.to_string(),
            breaker: row.breaker,
            blocked_until: row.blocked_until.map(|until| until.to_string()),
            in_flight: row.in_flight,
            faults: row.faults,
            last_error: row.last_error.as_ref().map(|last| last.error.clone()),
            last_error_at: row.last_error.as_ref().map(|last| last.at.to_string()),
            is_in_trouble: row.is_in_trouble(),
        }
    }
}

/// Lists all targets.
pub async fn list(ledger: &dyn Ledger) -> Result<TargetsReport, CommandError> {
    let rows = ledger
        .targets()
        .await
        .map_err(CommandError::store("list the targets of external calls"))?;
    Ok(TargetsReport {
        source: Source::Store,
        targets: rows.iter().map(TargetLine::of).collect(),
    })
}
