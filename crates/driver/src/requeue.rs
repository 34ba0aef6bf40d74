//! Retries that are due, and how a store puts them back into their queues.

use async_trait::async_trait;
use hookbox_event::{Envelope, RouteName};

/// A retry that is due. The envelope is published unchanged: its field `redo` already names the
/// attempt that is to be made.
#[derive(Debug, Clone)]
pub struct DueRetry {
    /// The route to whose queue the retry is published.
    pub route: RouteName,
    /// The envelope to publish.
    pub envelope: Envelope,
}

/// Publishes due retries for a store, which does not know the broker.
#[async_trait]
pub trait Republish: Send + Sync {
    /// Publishes these retries, of which there is at least one. Returns for each of them, in the
    /// same order, whether the broker has confirmed it.
    async fn republish(&self, due: &[&DueRetry]) -> Vec<bool>;

    /// Returns the routes that have a queue; only their retries are passed to
    /// [`Republish::republish`]. `None` means every route. A route that was removed from the config
    /// has no queue. Its retries wait in the store, and do not delay those of other routes.
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
