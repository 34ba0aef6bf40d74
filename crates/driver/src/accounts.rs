//! What ingests say they have answered, as operators see it.

use hookbox_event::{Account, InstanceId, ReceiptId, RouteName};
use serde::Serialize;

use crate::RouteBooks;

/// What ingests say they have answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// How many receipts they told of, for each route.
    pub told: Vec<(RouteName, u64)>,
    /// How many of those have no outcome yet, for each route that has any.
    pub open_by_route: Vec<(RouteName, u64)>,
    /// How many were lost and written off, for each route that has any.
    pub written_off: Vec<(RouteName, u64)>,
    /// The oldest of the open ones. In flight, or missing: who knows that nothing is in flight can
    /// tell.
    pub open: Vec<OpenReceipt>,
    /// Numbers that an instance must have told of, and has not.
    pub gaps: Vec<AccountGap>,
}

impl Accounts {
    /// How many receipts have no outcome yet, on all routes.
    pub fn open_count(&self) -> u64 {
        self.open_by_route.iter().map(|(_, count)| count).sum()
    }

    /// How many receipts were told of whose rows are gone, by books that were read later.
    pub fn gone(&self, books: &[RouteBooks]) -> u64 {
        let of_route = |counts: &[(RouteName, u64)], route: &RouteName| {
            let found = counts.iter().find(|(name, _)| name == route);
            found.map_or(0, |(_, count)| *count)
        };
        let gone = self.told.iter().map(|(route, told)| {
            let line = books.iter().find(|line| line.route == *route);
            let settled = line.map_or(0, RouteBooks::receipts);
            let open = of_route(&self.open_by_route, route);
            receipts_gone(*told, settled, open, of_route(&self.written_off, route))
        });
        gone.sum()
    }
}

/// Receipts of a route that were told of and are neither settled nor open nor written off: their
/// rows are gone. It can only be too small: what was stored without being told of hides as many.
pub const fn receipts_gone(told: u64, settled: u64, open: u64, written_off: u64) -> u64 {
    told.saturating_sub(settled + open + written_off)
}

/// A receipt that was answered 200 and has no outcome yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenReceipt {
    /// Which.
    pub receipt: ReceiptId,
    /// On which route.
    pub route: RouteName,
    /// The ingest process that answered.
    pub instance: InstanceId,
    /// Its number for it.
    pub number: u64,
    /// For how many seconds the store has known of it.
    pub seconds: u64,
    /// Whether it is overdue, and its route goes on without it: a receipt that was answered later
    /// has its outcome since as long.
    pub passed: bool,
}

/// Numbers of which nothing was told, before others of which something was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountGap {
    /// The ingest process.
    pub instance: InstanceId,
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// For how many seconds later numbers have been told of.
    pub seconds: u64,
}

impl AccountGap {
    /// The account that closes it: as if it had been told that nothing came of these numbers.
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

/// An ingest that has ended, or is cut off, without telling of its last numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unvouched {
    /// The ingest process.
    pub instance: InstanceId,
    /// The last number that it has told of; 0 if none.
    pub told: u64,
    /// The last of its numbers that has come through.
    pub seen: u64,
    /// Numbers between them that have not: void, or lost, and nobody can say which.
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
