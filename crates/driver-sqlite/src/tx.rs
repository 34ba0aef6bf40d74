//! An open transaction of the store, and the claims that it must have settled before it may commit.

use std::collections::BTreeMap;
use std::time::Instant;

use hookbox_crash::crash_point;
use hookbox_driver::{ClaimState, CommitError, Fault, FaultKind};
use hookbox_event::{EventId, ReceiptId, RouteName};
use sqlx::sqlite::SqliteConnection;

use crate::claims;
use crate::diagnose::{diagnose, fault};
use crate::writer::Unit;

/// An open transaction. It holds the file's only write lock until it ends, so no process writes
/// anything else meanwhile. Dropping it rolls it back.
pub struct Tx {
    pub(crate) unit: Unit,
    /// The claims that only this transaction may settle, by route and event.
    pub(crate) mine: BTreeMap<(RouteName, EventId), OwnedClaim>,
    pub(crate) claimed_at: Instant,
}

/// One claim that is `Fresh` or `Granted` in this transaction.
pub(crate) struct OwnedClaim {
    pub(crate) receipt: ReceiptId,
    /// The number of attempts made before this one.
    pub(crate) attempts: u32,
    /// Whether the claim is for a retry or replay rather than for a first attempt.
    pub(crate) granted: bool,
    /// The final state and the number of attempts, once the claim is settled.
    pub(crate) settled: Option<(ClaimState, u32)>,
}

impl Tx {
    pub(crate) fn new(unit: Unit) -> Self {
        Self {
            unit,
            mine: BTreeMap::new(),
            claimed_at: Instant::now(),
        }
    }

    /// Creates a transaction for a handler that is not hookbox's own. No other transaction gets its
    /// connection.
    pub(crate) fn guarded(mut unit: Unit) -> Self {
        unit.lend();
        Self::new(unit)
    }

    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        self.unit.connection()
    }

    /// Fails when a handler ended the transaction, or when SQLite ended it and the handler
    /// swallowed the error.
    ///
    /// If nothing was committed since the start, none of the handler's effects is committed (SQLite
    /// itself rolls back on some errors, such as a full disk). That counts as a failed attempt.
    pub(crate) async fn check_whole(&mut self) -> Result<(), CommitError> {
        let whole = self.unit.is_whole().await;
        if self.unit.has_committed() {
            return Err(CommitError::EndedByHandler {
                why: "something was committed before hookbox did".to_owned(),
            });
        }
        whole.map_err(|error| attribute("check the transaction", error))
    }

    /// Runs the guard, and then commits.
    pub(crate) async fn commit(mut self) -> Result<(), CommitError> {
        self.check_whole().await?;
        let mut by_route: BTreeMap<&RouteName, Vec<claims::Final<'_>>> = BTreeMap::new();
        for ((route, event), mine) in &self.mine {
            let Some((state, attempts)) = mine.settled else {
                return Err(Fault::plain(
                    FaultKind::Internal,
                    "commit a transaction in which a claim was not settled",
                )
                .into());
            };
            by_route.entry(route).or_default().push(claims::Final {
                event,
                state,
                attempts,
            });
        }
        for (route, finals) in by_route {
            let changed = claims::finish(self.unit.connection(), route, &finals)
                .await
                .map_err(fault("settle the claims"))?;
            if changed != finals.len() as u64 {
                return Err(CommitError::BrokenByHandler {
                    why: format!(
                        "of {} running claims the guard found {changed}",
                        finals.len()
                    ),
                });
            }
        }
        crash_point!("sqlite.after_guard");
        self.unit
            .commit()
            .await
            .map_err(|error| attribute("commit", error))
    }
}

/// Converts an error of a statement that can only fail with the file; any other cause is attributed
/// to the handler.
pub(crate) fn attribute(doing: &'static str, error: sqlx::Error) -> CommitError {
    match diagnose(&error) {
        Some(_) => fault(doing)(error).into(),
        None => CommitError::BrokenByHandler {
            why: error.to_string(),
        },
    }
}
