//! Waiting retries, as operators see them.

use hookbox_event::{EventId, RouteName, SourceName, Timestamp, Topic};
use serde::Serialize;

use crate::DeferredSince;

/// An event that waits for another attempt on a route.
#[derive(Debug, Clone, Serialize)]
pub struct WaitingRetry {
    /// Which event.
    pub event: EventId,
    /// The route.
    pub route: RouteName,
    /// What about.
    pub topic: Topic,
    /// The attempt it is for.
    pub attempt: u32,
    /// Not before.
    pub not_before: Timestamp,
    /// When it was put into the queue, if it was.
    pub queued_at: Option<Timestamp>,
    /// Why and since when it is deferred, if it waits without having failed.
    pub deferred: Option<DeferredSince>,
    /// The error of the last attempt that failed, if one has.
    pub error: Option<String>,
}

/// Which retries. Every field narrows.
#[derive(Debug, Clone, Default)]
pub struct RetryFilter {
    /// Only of these events.
    pub events: Vec<EventId>,
    /// Only of this route.
    pub route: Option<RouteName>,
    /// Only of events of this source.
    pub source: Option<SourceName>,
    /// Only those that are due then or later.
    pub since: Option<Timestamp>,
    /// Only those that are due before.
    pub until: Option<Timestamp>,
}

impl RetryFilter {
    /// Whether it filters by anything.
    pub fn is_narrow(&self) -> bool {
        !self.events.is_empty()
            || self.route.is_some()
            || self.source.is_some()
            || self.since.is_some()
            || self.until.is_some()
    }
}
