//! Waiting retries, in the form that operators see.

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
    /// The number of the attempt that is due.
    pub attempt: u32,
    /// Not before.
    pub not_before: Timestamp,
    /// The moment when the retry was put into the queue, if it was.
    pub queued_at: Option<Timestamp>,
    /// Why and since when the retry is deferred, if it waits without a failed attempt.
    pub deferred: Option<DeferredSince>,
    /// The error of the last failed attempt, if there is one.
    pub error: Option<String>,
}

/// A filter for retries. A retry must match every field that is set.
#[derive(Debug, Clone, Default)]
pub struct RetryFilter {
    /// Keeps only retries of these events.
    pub events: Vec<EventId>,
    /// Keeps only dead letters of this route.
    pub route: Option<RouteName>,
    /// Keeps only events of this source.
    pub source: Option<SourceName>,
    /// Keeps only retries that are due at this moment or later.
    pub since: Option<Timestamp>,
    /// Keeps only retries that are due before this moment.
    pub until: Option<Timestamp>,
}

impl RetryFilter {
    /// Returns whether any field is set.
    pub fn is_narrow(&self) -> bool {
        !self.events.is_empty()
            || self.route.is_some()
            || self.source.is_some()
            || self.since.is_some()
            || self.until.is_some()
    }
}
