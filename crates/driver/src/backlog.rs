//! How much waits in a store.

use hookbox_event::RouteName;
use serde::Serialize;

/// What waits on one route, counted in events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backlog {
    /// The route.
    pub route: RouteName,
    /// Those that wait for another attempt, due ones included.
    pub retrying: u64,
    /// Those whose attempt is due by the store's clock and that are not in their queue again.
    pub due: u64,
    /// Those that are deferred without an attempt.
    pub deferred: u64,
    /// How long the oldest of those has been deferred, in whole seconds.
    pub deferred_oldest_s: u64,
    /// Dead letters that have been neither replayed nor discarded.
    pub dead: u64,
}
