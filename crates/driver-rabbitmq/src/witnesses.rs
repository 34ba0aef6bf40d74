//! Reads the witness messages (which show whether the broker or the store was restored from a
//! backup) without removing them from their queue. A read takes all messages of the queue, settles
//! none of them, and closes the channel, so that the broker returns them to the queue.
//!
//! The reader closes its channel instead of rejecting the messages. RabbitMQ would append rejected
//! messages behind those that were published in the meantime. As the queue is full, it would then
//! drop the newest witness. When a channel closes, its messages return to the front of the queue,
//! so that the queue drops the oldest witness. If a process dies while it reads, its messages
//! return in the same way.
//!
//! Two readers that read at the same time each get only a part of the messages. So a process makes
//! one read at a time. A read counts only if, a moment later, the queue has as many messages as the
//! read returned, which shows that no other process held any of them. The results of several reads
//! that count are combined; between reads there is a randomised pause.

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

/// How many messages one read takes at most. The queue can hold far fewer.
const READ_MAX: usize = 64;

/// How many reads must have found all messages of the queue before the result counts as complete.
/// If the queue has another number of messages a moment later, the read is not counted, because
/// another reader held some of them.
const COUNTING: u32 = 2;

/// How many reads one call makes at most. A message that other readers hold during all of these
/// reads is not found.
const READINGS_MAX: u32 = 12;

/// The longest pause after each read. It is longer than a read takes, so that two readers do not
/// read at the same time again and again.
const PAUSE: Duration = Duration::from_millis(100);

/// Reads all witnesses in the queue. Other processes may read them at the same time.
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

/// Returns how many messages of the queue no reader has taken at the moment.
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
    // The channel is closed even after a failed read, so that the messages return to the queue at
    // once.
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
    let doing = "read a witness message: the queue holds another kind of message, or a newer \
                 hookbox has written this message";
    Witness::decode(body).map_err(|error| Fault::new(FaultKind::Internal, doing, error))
}
