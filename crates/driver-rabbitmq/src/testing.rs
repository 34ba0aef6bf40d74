//! Deletes queues, for tests only. hookbox itself deletes no queue, because when a queue is deleted
//! during a publish, RabbitMQ confirms messages that it loses with the queue (H5).

use lapin::Connection;
use lapin::options::QueueDeleteOptions;

use crate::{Options, topology};

/// Deletes the queues of an environment, with their messages.
pub async fn delete_topology(options: &Options) -> Result<(), lapin::Error> {
    let properties = lapin::ConnectionProperties::default();
    let connection = Connection::connect(&options.url, properties).await?;
    let channel = connection.create_channel().await?;
    for queue in topology(&options.environment, &options.routes).queues {
        let name = queue.name.as_str().into();
        channel
            .queue_delete(name, QueueDeleteOptions::default())
            .await?;
    }
    // The queues are deleted, so an error while closing the connection does not matter.
    let _ = connection.close(200, "done".into()).await;
    Ok(())
}
