//! Retries that are due, and how a store puts them back into their queues.

use async_trait::async_trait;
use hookbox_event::{Envelope, RouteName};

/// A retry that is due. Its envelope has `redo` set, so that it can be published as it is.
#[derive(Debug, Clone)]
pub struct DueRetry {
    /// The route to whose queue the retry is published.
    pub route: RouteName,
    /// The envelope to publish.
    pub envelope: Envelope,
}

/// How a store publishes the retries that are due.
#[async_trait]
pub trait Republish: Send + Sync {
    /// Publishes one retry. Returns `true` only when the broker confirmed it.
    async fn republish(&self, due: &DueRetry) -> bool;

    /// Returns the routes whose queues exist, so that retries can be published to them; `None`
    /// stands for every route. A route that was removed from the config has no queue. Its retries
    /// wait, and do not delay those of other routes.
    fn routes(&self) -> Option<&[RouteName]> {
        None
    }
}

/// The counts of one call of [`crate::Store::requeue_due`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requeued {
    /// The number of due retries that were taken for publishing.
    pub due: u32,
    /// The number of retries that were published, confirmed and marked as queued.
    pub confirmed: u32,
}
