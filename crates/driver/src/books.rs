//! The accounting as operators see it: settled receipts, and contradictions in the tables.

use hookbox_event::{EventId, RouteName};
use serde::Serialize;

/// The settled receipts of one route, by outcome. Each settled receipt has exactly one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteBooks {
    /// The route.
    pub route: RouteName,
    /// Receipts of events whose effects are committed.
    pub done: u64,
    /// Receipts of events that the route had already claimed.
    pub duplicate: u64,
    /// Receipts whose body differs from the known body of the same event id.
    pub conflict: u64,
    /// Receipts of events that wait for another attempt.
    pub retrying: u64,
    /// Receipts of events that are dead letters.
    pub dead: u64,
}

impl RouteBooks {
    /// Returns the number of all settled receipts of the route.
    pub fn receipts(&self) -> u64 {
        self.done + self.duplicate + self.conflict + self.retrying + self.dead
    }
}

/// A contradiction between rows of the store's tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imbalance {
    /// The route.
    pub route: RouteName,
    /// The event.
    pub event: EventId,
    /// What contradicts what.
    pub what: String,
}
