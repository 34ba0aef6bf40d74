//! Reads how many messages wait in a queue.

use hookbox_driver::{Depth, Fault, Queue};
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use crate::diagnose::fault;

/// Reads how many messages wait in a queue, and how many consumers it has. Both are unknown when
/// the broker does not answer for this queue.
///
/// # Errors
/// When no channel can be opened.
pub(crate) async fn depth(
    connection: &Connection,
    queue: Queue,
    name: String,
) -> Result<Depth, Fault> {
    let doing = || format!("read the depth of {name}");
    let channel = connection
        .create_channel()
        .await
        .map_err(|error| fault(doing(), error))?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::durable()
    };
    let asked = channel
        .queue_declare(name.as_str().into(), passive, FieldTable::default())
        .await;
    let known = asked.ok();
    Ok(Depth {
        ready: known.as_ref().map(|known| known.message_count().into()),
        consumers: known.as_ref().map(|known| known.consumer_count().into()),
        // AMQP reports neither the number of messages in flight nor that of the events in messages,
        // so these numbers are unknown.
        unsettled: None,
        events: None,
        queue,
        name,
    })
}
