//! Retries that are due, and how a store returns them to their queues.

use async_trait::async_trait;
use hookbox_event::{Envelope, RouteName};

/// A retry that is due, ready to be published: its envelope has `redo` set.
#[derive(Debug, Clone)]
pub struct DueRetry {
    /// To which route.
    pub route: RouteName,
    /// What to publish.
    pub envelope: Envelope,
}

/// How a store publishes the retries that are due.
#[async_trait]
pub trait Republish: Send + Sync {
    /// Publishes one retry. Returns `true` only when the broker confirmed it.
    async fn republish(&self, due: &DueRetry) -> bool;

    /// Returns the routes whose queues accept retries; `None` for any route. Retries of other
    /// routes wait and do not delay the rest: a route that was removed from the config has no
    /// queue.
    fn routes(&self) -> Option<&[RouteName]> {
        None
    }
}

/// What [`crate::Store::requeue_due`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requeued {
    /// The number of due retries that were taken.
    pub due: u32,
    /// The number of retries that were published, confirmed and marked as queued.
    pub confirmed: u32,
}
