//! A publish that a caller passes to the publisher.

use hookbox_driver::{Batch, PublishError};
use tokio::sync::oneshot;

/// One publish that waits for its commit.
pub(crate) struct Job {
    pub(crate) queues: Vec<String>,
    pub(crate) batch: Batch,
    pub(crate) reply: oneshot::Sender<Result<(), PublishError>>,
}
