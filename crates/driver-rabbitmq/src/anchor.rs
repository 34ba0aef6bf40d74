//! The anchor: an unused queue that is declared after ours and expires soon (H14).
//!
//! RabbitMQ 3.10 keeps which quorum queue has which log in a `dets` file. When the broker's
//! process is killed, that file was not closed, and its repair at the next start loses the entry
//! that was written last, however long ago: for three minutes, until the file saves itself. That
//! queue then starts with an empty log and never elects a leader, and all that it had confirmed is
//! gone. So the last entry must not be one of ours.
//!
//! Only what declares queues drops one, each time, also where every queue was there: a process
//! that was killed between the queues and its anchor is run again, since it did not succeed.

use std::time::{SystemTime, UNIX_EPOCH};

use hookbox_event::EnvironmentName;
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

/// Until the broker deletes it as unused, in milliseconds. hookbox deletes no queue, not even this
/// one.
const EXPIRES: i64 = 10_000;

/// Writes an entry behind those of the queues.
///
/// # Errors
/// When the broker refuses, or the connection is lost.
pub(crate) async fn drop_anchor(
    connection: &Connection,
    environment: &EnvironmentName,
) -> Result<(), lapin::Error> {
    // A name that existed before would write nothing: no two processes may share one, nor the same
    // process twice.
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
