//! Declares the anchor queue: an unused queue that is declared after hookbox's queues and expires
//! soon (H14).
//!
//! RabbitMQ 3.10 records in a `dets` file which quorum queue has which log. When the broker's
//! process is killed, this file is not closed. At the next start the broker repairs the file, and
//! the repair loses the entry that was written last. The risk ends three minutes after that entry
//! was written, when RabbitMQ saves the file by itself. The queue of a lost entry starts with an
//! empty log and never elects a leader, so all messages that it had confirmed are lost. So the last
//! entry must not be that of one of hookbox's queues.
//!
//! Each command that declares queues also declares a new anchor queue, even if every queue of
//! hookbox existed already. So if a command is killed after it has declared hookbox's queues and
//! before it has declared the anchor queue, an operator runs it again, and the second run declares
//! an anchor queue.

use std::time::{SystemTime, UNIX_EPOCH};

use hookbox_event::EnvironmentName;
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

/// The time in milliseconds after which the broker deletes the unused anchor queue. hookbox itself
/// deletes no queue, not even this one.
const EXPIRES: i64 = 10_000;

/// Declares an anchor queue. Its entry is then the last one in the broker's file of queues, so the
/// entry that may be lost belongs to no queue of hookbox.
///
/// # Errors
/// When the broker refuses to declare the anchor queue, or the connection is lost.
pub(crate) async fn drop_anchor(
    connection: &Connection,
    environment: &EnvironmentName,
) -> Result<(), lapin::Error> {
    // The name must be new, because declaring an existing queue would write no entry. So the name
    // differs between processes, and between two calls in one process.
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
