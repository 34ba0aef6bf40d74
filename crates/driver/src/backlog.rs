//! The counts of events that wait in a store.

use hookbox_event::RouteName;
use serde::Serialize;

/// The counts of events that wait on one route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backlog {
    /// The route.
    pub route: RouteName,
    /// The events that wait for another attempt, including those that are due.
    pub retrying: u64,
    /// The events whose attempt is due by the store's clock and that are not in their queue yet.
    pub due: u64,
    /// The events that are deferred without an attempt.
    pub deferred: u64,
    /// How long the oldest deferred event has been deferred, in whole seconds.
    pub deferred_oldest_s: u64,
    /// The dead letters that have been neither replayed nor discarded.
    pub dead: u64,
}
