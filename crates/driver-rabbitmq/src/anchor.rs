//! The anchor: an unused queue that is declared after hookbox's queues and expires soon (H14).
//!
//! RabbitMQ 3.10 records in a `dets` file which quorum queue has which log. When the broker's
//! process is killed, the file was not closed, and its repair at the next start loses the entry
//! that was written last, however long ago. The risk lasts for three minutes, until the file saves
//! itself. The queue of the lost entry starts with an empty log and never elects a leader, and all
//! messages that it had confirmed are lost. So the last entry must not be one of hookbox's queues.
//!
//! Each command that declares queues also declares an anchor, even if every queue existed already:
//! a process that was killed before its anchor did not succeed, so it is run again.

use std::time::{SystemTime, UNIX_EPOCH};

use hookbox_event::EnvironmentName;
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

/// The time in milliseconds after which the broker deletes the unused queue. hookbox deletes no
/// queue, not even this one.
const EXPIRES: i64 = 10_000;

/// Declares an anchor, so that its entry follows those of the queues.
///
/// # Errors
/// When the broker refuses, or the connection is lost.
pub(crate) async fn drop_anchor(
    connection: &Connection,
    environment: &EnvironmentName,
) -> Result<(), lapin::Error> {
    // The name must be new, because an existing queue would add no entry: no two processes may
    // share a name, nor may one process use it twice.
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_nanos());
    let name = format!("hookbox.{environment}.anchor.{}-{now}", std::process::id());
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    arguments.insert("x-expires".into(), AMQPValue::LongLongInt(EXPIRES));
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(name.into(), QueueDeclareOptions::durable(), arguments)
        .await?;
    Ok(())
}
