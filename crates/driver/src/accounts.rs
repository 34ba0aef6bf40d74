//! What ingests report as accepted, as operators see it.

use hookbox_event::{Account, InstanceId, ReceiptId, RouteName};
use serde::Serialize;

use crate::RouteBooks;

/// What ingests report as accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// How many receipts were reported, for each route.
    pub reported: Vec<(RouteName, u64)>,
    /// How many of those have no outcome yet, for each route that has any.
    pub open_by_route: Vec<(RouteName, u64)>,
    /// How many were lost and written off, for each route that has any.
    pub written_off: Vec<(RouteName, u64)>,
    /// The oldest of the open ones. They are in flight or missing; only a caller who knows that
    /// nothing is in flight can distinguish the two.
    pub open: Vec<OpenReceipt>,
    /// Sequence gaps: numbers below a reported one that no accept report covers.
    pub gaps: Vec<AccountGap>,
}

impl Accounts {
    /// How many receipts have no outcome yet, on all routes.
    pub fn open_count(&self) -> u64 {
        self.open_by_route.iter().map(|(_, count)| count).sum()
    }

    /// How many reported receipts have lost their rows, by accounting that was read later.
    pub fn gone(&self, books: &[RouteBooks]) -> u64 {
        let of_route = |counts: &[(RouteName, u64)], route: &RouteName| {
            let found = counts.iter().find(|(name, _)| name == route);
            found.map_or(0, |(_, count)| *count)
        };
        let gone = self.reported.iter().map(|(route, reported)| {
            let line = books.iter().find(|line| line.route == *route);
            let settled = line.map_or(0, RouteBooks::receipts);
            let open = of_route(&self.open_by_route, route);
            receipts_gone(*reported, settled, open, of_route(&self.written_off, route))
        });
        gone.sum()
    }
}

/// Reported receipts of a route that are neither settled nor open nor written off: their rows are
/// gone. The result can only be too small: each receipt stored but unreported hides one of them.
pub const fn receipts_gone(reported: u64, settled: u64, open: u64, written_off: u64) -> u64 {
    reported.saturating_sub(settled + open + written_off)
}

/// A receipt that was answered 200 and has no outcome yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenReceipt {
    /// Which.
    pub receipt: ReceiptId,
    /// On which route.
    pub route: RouteName,
    /// The ingest process that accepted it.
    pub instance: InstanceId,
    /// Its sequence number.
    pub number: u64,
    /// For how many seconds the store has known of it.
    pub seconds: u64,
    /// Whether it is overdue while its route makes progress: a receipt that was accepted later has
    /// had its outcome for as long.
    pub passed: bool,
}

/// A sequence gap: numbers that no accept report covers, below numbers that one does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountGap {
    /// The ingest process.
    pub instance: InstanceId,
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// For how many seconds later numbers have been reported.
    pub seconds: u64,
}

impl AccountGap {
    /// The accept report that closes the gap: it covers these numbers and names no receipt.
    pub fn void(&self) -> Account {
        Account {
            instance: self.instance,
            first: self.first,
            last: self.last,
            closing: false,
            accepted: Vec::new(),
        }
    }
}

/// An ingest that has ended, or is cut off, without reporting its last numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unvouched {
    /// The ingest process.
    pub instance: InstanceId,
    /// The last number that it has reported; 0 if none.
    pub reported: u64,
    /// The last of its numbers that was seen in the store.
    pub seen: u64,
    /// Numbers between them that were not seen: void or lost, which cannot be distinguished.
    pub absent: u64,
}

/// An ingest that has neither closed nor reported anything for long: it is idle, or it was killed,
/// and what it accepted after its last report is known to nothing but the queue that it went to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SilentIngest {
    /// The ingest process.
    pub instance: InstanceId,
    /// The last number that it has reported.
    pub reported: u64,
    /// For how many seconds it has reported nothing.
    pub seconds: u64,
}
