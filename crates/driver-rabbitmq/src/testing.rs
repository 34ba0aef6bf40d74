//! Deletes queues, for tests only. hookbox itself deletes no queue, because when a queue is deleted
//! during a publish, RabbitMQ confirms messages that it loses with the queue (H5).

use lapin::Connection;
use lapin::options::QueueDeleteOptions;

use crate::identity::identity_queue;
use crate::{Options, topology};

/// Deletes the queues of an environment, with their messages, and its identity stamp.
pub async fn delete_topology(options: &Options) -> Result<(), lapin::Error> {
    let properties = lapin::ConnectionProperties::default();
    let connection = Connection::connect(&options.url, properties).await?;
    let channel = connection.create_channel().await?;
    let queues = topology(&options.environment, &options.routes).queues;
    let names = queues.into_iter().map(|queue| queue.name);
    for name in names.chain([identity_queue(&options.environment)]) {
        // Deleting a queue that does not exist is not an error at the broker.
        channel
            .queue_delete(name.as_str().into(), QueueDeleteOptions::default())
            .await?;
    }
    // The queues are deleted, so an error while closing the connection does not matter.
    let _ = connection
        .close(200, "the queues were deleted".into())
        .await;
    Ok(())
}
