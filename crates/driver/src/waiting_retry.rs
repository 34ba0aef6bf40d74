//! Waiting retries, in the form that operators see.

use hookbox_event::{EventId, RouteName, SourceName, Timestamp, Topic};
use serde::Serialize;

use crate::DeferredSince;

/// An event that waits for another attempt on one route.
#[derive(Debug, Clone, Serialize)]
pub struct WaitingRetry {
    /// The event that waits.
    pub event: EventId,
    /// The route on which the event waits.
    pub route: RouteName,
    /// The topic of the event.
    pub topic: Topic,
    /// The number of the attempt that will be made.
    pub attempt: u32,
    /// The moment before which the attempt is not made.
    pub not_before: Timestamp,
    /// The moment when the retry was put back into its queue; `None` if it has not been.
    pub queued_at: Option<Timestamp>,
    /// The reason and the start of the deferral; `None` when the retry follows a failed attempt.
    pub deferred: Option<DeferredSince>,
    /// The error of the last failed attempt; `None` if there is none.
    pub error: Option<String>,
}

/// A filter for retries. A retry must match every field that is set.
#[derive(Debug, Clone, Default)]
pub struct RetryFilter {
    /// Selects only retries of these events; empty for any event.
    pub events: Vec<EventId>,
    /// Selects only retries on this route.
    pub route: Option<RouteName>,
    /// Selects only retries whose event comes from this source.
    pub source: Option<SourceName>,
    /// Selects only retries that are due at this moment or later.
    pub since: Option<Timestamp>,
    /// Selects only retries that are due before this moment.
    pub until: Option<Timestamp>,
}

impl RetryFilter {
    /// Returns whether any field is set. If not, the filter matches all retries.
    pub fn is_narrow(&self) -> bool {
        !self.events.is_empty()
            || self.route.is_some()
            || self.source.is_some()
            || self.since.is_some()
            || self.until.is_some()
    }
}
