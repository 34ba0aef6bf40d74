//! The anchor: an unused queue that is declared after hookbox's queues and expires soon (H14).
//!
//! RabbitMQ 3.10 records in a `dets` file which quorum queue has which log. When the broker's
//! process is killed, this file is not closed. At the next start the broker repairs the file, and
//! the repair loses the entry that was written last, however long ago that was. The risk lasts for
//! three minutes after an entry was written, until RabbitMQ saves the file by itself. The queue of
//! a lost entry starts with an empty log and never elects a leader, so all messages that it had
//! confirmed are lost. So the last entry must not be that of one of hookbox's queues.
//!
//! Each command that declares queues also declares an anchor, even if every queue existed already.
//! If a command is killed after it has declared its queues and before it has declared its anchor,
//! it has not succeeded and is run again. Then every queue exists, and only the anchor is missing.

use std::time::{SystemTime, UNIX_EPOCH};

use hookbox_event::EnvironmentName;
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

/// The time in milliseconds after which the broker deletes the unused anchor queue. hookbox itself
/// deletes no queue, not even this one.
const EXPIRES: i64 = 10_000;

/// Declares an anchor. Its entry is then the last one in the broker's file of queues, so that no
/// queue of hookbox has the entry that may be lost.
///
/// # Errors
/// When the broker refuses to declare the anchor, or the connection is lost.
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
