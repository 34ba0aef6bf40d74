//! What ingests report as accepted, in the form that operators see.

use hookbox_event::{Account, InstanceId, ReceiptId, RouteName};
use serde::Serialize;

use crate::RouteBooks;

/// What ingests report as accepted, and what is still open of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// The number of reported receipts of each route.
    pub reported: Vec<(RouteName, u64)>,
    /// The number of reported receipts without an outcome, for each route that has any.
    pub open_by_route: Vec<(RouteName, u64)>,
    /// The number of receipts that were written off as lost, for each route that has any.
    pub written_off: Vec<(RouteName, u64)>,
    /// The oldest receipts without an outcome. Each is in flight or missing; only a caller who
    /// knows that nothing is in flight can distinguish the two.
    pub open: Vec<OpenReceipt>,
    /// The sequence gaps: numbers below a reported number that no accept report covers.
    pub gaps: Vec<AccountGap>,
}

impl Accounts {
    /// Returns the number of receipts without an outcome, over all routes.
    pub fn open_count(&self) -> u64 {
        self.open_by_route.iter().map(|(_, count)| count).sum()
    }

    /// Returns how many reported receipts have lost their rows. `books` must be read after these
    /// accept reports.
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

/// Returns how many reported receipts of a route are neither settled nor open nor written off:
/// their rows are gone. The result can only be too small, because each stored receipt that was
/// never reported hides one that is gone.
pub const fn receipts_gone(reported: u64, settled: u64, open: u64, written_off: u64) -> u64 {
    reported.saturating_sub(settled + open + written_off)
}

/// A receipt that was answered with 200 and has no outcome yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenReceipt {
    /// Which.
    pub receipt: ReceiptId,
    /// On which route.
    pub route: RouteName,
    /// The ingest process that accepted the receipt.
    pub instance: InstanceId,
    /// Its sequence number.
    pub number: u64,
    /// The seconds since the receipt's accept report was stored.
    pub seconds: u64,
    /// Whether the receipt is overdue although its route makes progress: a receipt that was
    /// accepted later has had its outcome for longer than the overdue limit.
    pub passed: bool,
}

/// A sequence gap: numbers that no accept report covers, below numbers that one covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountGap {
    /// The ingest process.
    pub instance: InstanceId,
    /// The first number of the gap.
    pub first: u64,
    /// The last number of the gap.
    pub last: u64,
    /// The seconds since a number above the gap was first reported.
    pub seconds: u64,
}

impl AccountGap {
    /// Returns the accept report that closes the gap: it covers the gap's numbers and names no
    /// receipt.
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

/// An ingest that has ended, or is cut off, without reporting its last sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unvouched {
    /// The ingest process.
    pub instance: InstanceId,
    /// The last sequence number that the ingest has reported; 0 if none.
    pub reported: u64,
    /// The highest sequence number of this ingest on a receipt in the store.
    pub seen: u64,
    /// The count of numbers between `reported` and `seen` that the store has not seen. Each is void
    /// or lost, which cannot be distinguished.
    pub absent: u64,
}

/// An ingest that has not closed and has reported nothing for a long time. It is idle, or it was
/// killed; then only the queues know what it accepted after its last report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SilentIngest {
    /// The ingest process.
    pub instance: InstanceId,
    /// The last sequence number that the ingest has reported.
    pub reported: u64,
    /// The seconds since the ingest's last accept report.
    pub seconds: u64,
}
