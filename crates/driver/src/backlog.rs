//! How many events wait in a store, for a retry or as dead letters.

use hookbox_event::RouteName;
use serde::Serialize;

/// How many events wait on one route, by the reason of the wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backlog {
    /// The route on which the events wait.
    pub route: RouteName,
    /// The number of events that wait for another attempt, including those that are due.
    pub retrying: u64,
    /// The number of events whose attempt is due by the store's clock and that were not put back
    /// into their queue yet.
    pub due: u64,
    /// The number of deferred events: they wait for a lock, a missing right or the target of an
    /// external call, and no attempt was counted. Leased events are not among them.
    pub deferred: u64,
    /// For how many whole seconds the oldest deferred event has been deferred.
    pub deferred_oldest_s: u64,
    /// The number of deferred events for which the database denied a right, or lacks a table,
    /// column or function.
    pub missing_right: u64,
    /// The number of deferred events whose target was not reached.
    pub target_fault: u64,
    /// The number of dead letters that have been neither replayed nor discarded.
    pub dead: u64,
}
