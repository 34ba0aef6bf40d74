//! The accounting as operators see it: settled receipts, and contradictions in the tables.

use hookbox_event::{EventId, RouteName};
use serde::Serialize;

/// The settled receipts of one route, by outcome. Each settled receipt has exactly one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteBooks {
    /// The route of these counts.
    pub route: RouteName,
    /// The number of receipts of events whose effects are committed.
    pub done: u64,
    /// The number of further receipts of events that the route had already claimed.
    pub duplicate: u64,
    /// The number of receipts whose body differs from the stored body of the same event id.
    pub conflict: u64,
    /// The number of receipts of events that wait for another attempt.
    pub retrying: u64,
    /// The number of receipts of events that are dead letters.
    pub dead: u64,
    /// The number of receipts of stale events: a newer event of the same key was done before.
    pub stale: u64,
}

impl RouteBooks {
    /// Returns the number of all settled receipts of the route.
    pub fn receipts(&self) -> u64 {
        self.done + self.duplicate + self.conflict + self.retrying + self.dead + self.stale
    }
}

/// A contradiction between rows of the store's tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imbalance {
    /// The route of the rows that contradict each other.
    pub route: RouteName,
    /// The event of the rows that contradict each other; `None` when the event is not stored.
    pub event: Option<EventId>,
    /// A sentence for operators that says which rows contradict each other.
    pub what: String,
}
