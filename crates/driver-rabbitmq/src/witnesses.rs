//! Reads the witnesses without removing them: it takes all messages, settles none, and closes the
//! channel, which returns them to the queue.
//!
//! The messages are not rejected, because RabbitMQ would append rejected ones after those published
//! meanwhile, and the full queue would then drop the newest. When a channel closes, its messages
//! return to the front, so that the queue drops the oldest. The messages of a reader that dies
//! return in the same way.
//!
//! Two concurrent readers share the queue's messages between them. So a process makes one read at a
//! time, and a read counts only if, a moment later, the queue has as many messages as the read
//! returned: then no other process held any of them. Several such reads are combined, with
//! randomised pauses.

use std::collections::BTreeMap;
use std::time::Duration;

use hookbox_driver::{Fault, FaultKind};
use hookbox_event::Witness;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::{sleep, timeout};

use crate::diagnose::{fault, late};
use crate::jitter::jittered;

const DOING: &str = "read the witnesses";

/// The most messages that one read takes, far more than the queue may hold.
const READ_MAX: usize = 64;

/// How many reads must count before the result is complete.
const COUNTING: u32 = 2;

/// The most reads that are made. Messages that other readers hold during all of them are not found.
const READINGS_MAX: u32 = 12;

/// The longest pause after each read. It is longer than a read takes.
const PAUSE: Duration = Duration::from_millis(100);

/// Reads the messages of the queue, while others may read it as well.
///
/// # Errors
/// When the queue does not answer in time, or holds something that is no witness.
pub(crate) async fn read(
    connection: &Connection,
    queue: &str,
    deadline: Duration,
) -> Result<Vec<Witness>, Fault> {
    let mut found = BTreeMap::new();
    let mut counting = 0;
    for _ in 0..READINGS_MAX {
        let bodies = read_once(connection, queue, deadline).await?;
        sleep(jittered(PAUSE)).await;
        let ready = timeout(deadline, ready(connection, queue)).await;
        let ready = ready
            .map_err(|_elapsed| late(DOING))?
            .map_err(|error| fault(DOING, error))?;
        counting += u32::from(ready == bodies.len());
        for body in bodies {
            let witness = decode(&body)?;
            found.insert(body, witness);
        }
        if counting >= COUNTING {
            break;
        }
    }
    Ok(found.into_values().collect())
}

/// Returns how many messages no reader holds.
async fn ready(connection: &Connection, queue: &str) -> Result<usize, lapin::Error> {
    let channel = connection.create_channel().await?;
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::durable()
    };
    let declared = channel.queue_declare(queue.into(), passive, FieldTable::default());
    let count = declared.await?.message_count();
    channel.close(200, "it was counted".into()).await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

async fn read_once(
    connection: &Connection,
    queue: &str,
    deadline: Duration,
) -> Result<Vec<Vec<u8>>, Fault> {
    let opening = timeout(deadline, connection.create_channel()).await;
    let channel = opening
        .map_err(|_elapsed| late(DOING))?
        .map_err(|error| fault(DOING, error))?;
    let taken = timeout(deadline, take(&channel, queue)).await;
    // The channel is closed even after a failed read, so that its messages return now.
    let closed = timeout(deadline, channel.close(200, "they were read".into())).await;
    let bodies = taken
        .map_err(|_elapsed| late(DOING))?
        .map_err(|error| fault(DOING, error))?;
    closed
        .map_err(|_elapsed| late(DOING))?
        .map_err(|error| fault(DOING, error))?;
    Ok(bodies)
}

async fn take(channel: &Channel, queue: &str) -> Result<Vec<Vec<u8>>, lapin::Error> {
    let mut bodies = Vec::new();
    while bodies.len() < READ_MAX {
        let got = channel.basic_get(queue.into(), BasicGetOptions::default());
        let Some(message) = got.await? else {
            break;
        };
        bodies.push(message.delivery.data);
    }
    Ok(bodies)
}

fn decode(body: &[u8]) -> Result<Witness, Fault> {
    let doing = "read a witness: the queue holds something else, or a newer hookbox wrote it";
    Witness::decode(body).map_err(|error| Fault::new(FaultKind::Internal, doing, error))
}
