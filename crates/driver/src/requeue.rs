//! Retries that are due, and their way back into their queues.

use async_trait::async_trait;
use hookbox_event::{Envelope, RouteName};

/// A retry that is due, ready to travel: its envelope has `redo` set.
#[derive(Debug, Clone)]
pub struct DueRetry {
    /// To which route.
    pub route: RouteName,
    /// What to publish.
    pub envelope: Envelope,
}

/// How a store publishes what is due.
#[async_trait]
pub trait Republish: Send + Sync {
    /// Publishes one retry. `true` only when the broker confirmed it.
    async fn republish(&self, due: &DueRetry) -> bool;

    /// The routes that retries can be published to; `None` for any. Those of other routes wait,
    /// and do not delay others: a route that was taken out of the config has no queue.
    fn routes(&self) -> Option<&[RouteName]> {
        None
    }
}

/// What [`crate::Store::requeue_due`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Requeued {
    /// Retries that were due and taken.
    pub due: u32,
    /// Those that were published, confirmed and marked.
    pub confirmed: u32,
}
