//! What ingests say they have answered, as operators see it.

use hookbox_event::{InstanceId, ReceiptId, RouteName};
use serde::Serialize;

/// What ingests say they have answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Accounts {
    /// How many receipts they told of, for each route.
    pub told: Vec<(RouteName, u64)>,
    /// How many of those have no outcome yet.
    pub open_count: u64,
    /// The oldest of them. In flight, or missing: who knows that nothing is in flight can tell.
    pub open: Vec<OpenReceipt>,
    /// Numbers that an instance must have told of, and has not.
    pub gaps: Vec<AccountGap>,
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
}
