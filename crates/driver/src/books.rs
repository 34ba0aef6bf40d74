//! The accounting as operators see it: settled receipts, and contradictions in the tables.

use hookbox_event::{EventId, RouteName};
use serde::Serialize;

/// The accounting of one route: every settled receipt has one outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteBooks {
    /// The route.
    pub route: RouteName,
    /// Receipts whose event's effects are committed.
    pub done: u64,
    /// Receipts of events that were known.
    pub duplicate: u64,
    /// Receipts with another body under a known event id.
    pub conflict: u64,
    /// Receipts whose event waits for another attempt.
    pub retrying: u64,
    /// Receipts whose event is a dead letter.
    pub dead: u64,
}

impl RouteBooks {
    /// All settled receipts of the route.
    pub fn receipts(&self) -> u64 {
        self.done + self.duplicate + self.conflict + self.retrying + self.dead
    }
}

/// Something in the tables that contradicts something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Imbalance {
    /// The route.
    pub route: RouteName,
    /// The event.
    pub event: EventId,
    /// What contradicts what.
    pub what: String,
}
