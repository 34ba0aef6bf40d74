//! An open transaction of the store, and the claims that it has made. It can only commit when all
//! of them are settled.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use hookbox_crash::crash_point;
use hookbox_driver::{CommitError, Fault, FaultKind, VersionedEvent};
use hookbox_event::{EventId, EventNumber, RouteName};
use sqlx::sqlite::SqliteConnection;

use crate::claims;
use crate::diagnose::{diagnose, fault};
use crate::file::writer::Unit;
use crate::owned_claim::OwnedClaim;

/// An open transaction. It holds the file's only write lock until it ends, so no process writes
/// anything else meanwhile. Dropping this value rolls the transaction back.
pub struct Tx {
    pub(crate) unit: Unit,
    /// The claims that this transaction made and that only this transaction may settle, by route
    /// and event.
    pub(crate) owned: BTreeMap<(RouteName, EventId), OwnedClaim>,
    /// The events whose claims this transaction has turned into leases, by route.
    pub(crate) leased: BTreeSet<(RouteName, EventId)>,
    /// The events whose versions this transaction has compared, by route and event.
    pub(crate) versions: BTreeMap<(RouteName, EventId), VersionedEvent>,
    /// The numbers of the events that this transaction has tried to claim and that are stored.
    pub(crate) numbers: HashMap<EventId, EventNumber>,
    pub(crate) claimed_at: Instant,
    /// Whether the transaction is for a handler that is not hookbox's own.
    guarded: bool,
}

impl Tx {
    pub(crate) fn new(unit: Unit) -> Self {
        Self {
            unit,
            owned: BTreeMap::new(),
            leased: BTreeSet::new(),
            versions: BTreeMap::new(),
            numbers: HashMap::new(),
            claimed_at: Instant::now(),
            guarded: false,
        }
    }

    /// Creates a transaction for a handler that is not hookbox's own. Its connection is closed
    /// afterwards, so that no later transaction gets what the handler has changed on it.
    pub(crate) fn guarded(mut unit: Unit) -> Self {
        unit.lend();
        Self {
            guarded: true,
            ..Self::new(unit)
        }
    }

    pub(crate) fn is_guarded(&self) -> bool {
        self.guarded
    }

    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        self.unit.connection()
    }

    /// Returns an error when the transaction has ended: a handler has ended it, or SQLite has ended
    /// it because of an error that the handler ignored.
    ///
    /// The class of the error depends on whether anything was committed since the start of the
    /// transaction. If not, none of the handler's effects is in the file, and the error counts as a
    /// failed attempt. This happens when SQLite itself rolls back, for example on a full disk.
    pub(crate) async fn check_whole(&mut self) -> Result<(), CommitError> {
        let whole = self.unit.is_whole().await;
        if self.unit.has_committed() {
            return Err(CommitError::EndedByHandler {
                why: "the connection committed something before hookbox's commit".to_owned(),
            });
        }
        whole.map_err(|error| attribute("check whether the transaction is open", error))
    }

    /// Runs the guard, and then commits. The guard checks the transaction, and sets every claim
    /// that was made in it to the claim's final state.
    pub(crate) async fn commit(mut self) -> Result<(), CommitError> {
        self.check_whole().await?;
        let mut by_route: BTreeMap<&RouteName, Vec<claims::Final>> = BTreeMap::new();
        for ((route, event), owned) in &self.owned {
            let number = self.numbers.get(event).copied();
            let (Some((state, attempts)), Some(event)) = (owned.settled, number) else {
                return Err(Fault::plain(
                    FaultKind::Internal,
                    "commit a transaction in which a claim has no outcome",
                )
                .into());
            };
            by_route.entry(route).or_default().push(claims::Final {
                event,
                written: owned.written,
                state,
                attempts,
            });
        }
        for (route, finals) in by_route {
            let found = claims::end(self.unit.connection(), route, &finals)
                .await
                .map_err(fault("write the final claim states"))?;
            if found != finals.len() as u64 {
                return Err(CommitError::BrokenByHandler {
                    why: format!(
                        "of the transaction's {} claims, only {found} were unchanged",
                        finals.len()
                    ),
                });
            }
        }
        crash_point!("sqlite.after_guard");
        self.unit
            .commit()
            .await
            .map_err(|error| attribute("commit a transaction", error))
    }
}

/// Converts an error of one of hookbox's own statements. If the file has failed, the result is a
/// fault. The only other cause is a handler that has broken the transaction.
pub(crate) fn attribute(doing: &'static str, error: sqlx::Error) -> CommitError {
    match diagnose(&error) {
        Some(_) => fault(doing)(error).into(),
        None => CommitError::BrokenByHandler {
            why: error.to_string(),
        },
    }
}
