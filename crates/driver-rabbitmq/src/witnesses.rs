//! Reads the witness messages (which show whether the broker or the store was restored from a
//! backup) without removing them from their queue. A read takes all messages of the queue, settles
//! none of them, and closes the channel, so that the broker returns them to the queue.
//!
//! The queue is full, and for each new message it drops the message at its front, which must be the
//! oldest. Therefore the reader closes its channel and does not reject the messages. When a channel
//! closes, its messages return to the front of the queue. Rejected messages are appended behind
//! newer ones, and the newer ones would be dropped first. If a process dies while it reads, its
//! messages return to the front too.
//!
//! Only one process reads at a time ([`WitnessLock`]). If two processes read at once, each might
//! hold a part of the messages. RabbitMQ appends what the second reader returns behind what the
//! first reader returned. So the newest message might get to the front and be dropped next.
//! Processes of an older version read without the lock, so callers repeat a read that finds too few
//! messages.

use std::time::Duration;

use hookbox_driver::{Fault, FaultKind, WITNESSES_KEPT};
use hookbox_event::Witness;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection};
use tokio::time::sleep;

use crate::diagnose::in_time;
use crate::jitter::jittered;
use crate::witness_lock::WitnessLock;

const DOING: &str = "read the witnesses";

/// The largest number of messages that one read takes. The queue never keeps more, so a read takes
/// all messages that it held when the read began. Messages that are published in the meantime stay
/// in the queue.
const READ_MAX: u32 = WITNESSES_KEPT;

/// How many times a reader counts the messages in the queue at most, to wait until the messages
/// that it took have returned. They return within milliseconds after its channel is closed.
const COUNTS_MAX: u32 = 50;

/// The longest pause between two counts.
const PAUSE: Duration = Duration::from_millis(10);

/// Reads all witnesses in the queue.
///
/// # Errors
/// When the broker does not answer in time, when the queue holds something that is not a witness,
/// or when another process reads for longer than the deadline.
pub(crate) async fn read(
    connection: &Connection,
    queue: &str,
    deadline: Duration,
) -> Result<Vec<Witness>, Fault> {
    let lock = WitnessLock::take(connection, queue, deadline).await?;
    let bodies = read_locked(connection, queue, deadline).await;
    let released = lock.release(deadline).await;
    let bodies = bodies?;
    released?;
    bodies.iter().map(|body| decode(body)).collect()
}

async fn read_locked(
    connection: &Connection,
    queue: &str,
    deadline: Duration,
) -> Result<Vec<Vec<u8>>, Fault> {
    let bodies = read_once(connection, queue, deadline).await?;
    // The lock is kept until the messages have returned, so that the next reader finds them.
    for _ in 0..COUNTS_MAX {
        let ready = in_time(deadline, DOING, ready(connection, queue)).await?;
        if ready >= bodies.len() {
            break;
        }
        sleep(jittered(PAUSE)).await;
    }
    Ok(bodies)
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
    channel
        .close(200, "the witnesses were counted".into())
        .await?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

async fn read_once(
    connection: &Connection,
    queue: &str,
    deadline: Duration,
) -> Result<Vec<Vec<u8>>, Fault> {
    let channel = in_time(deadline, DOING, connection.create_channel()).await?;
    let taken = in_time(deadline, DOING, take(&channel, queue)).await;
    // The channel is closed even after a failed read, so that the messages return to the queue at
    // once.
    let closing = channel.close(200, "the witnesses were read".into());
    let closed = in_time(deadline, DOING, closing).await;
    let bodies = taken?;
    closed?;
    Ok(bodies)
}

async fn take(channel: &Channel, queue: &str) -> Result<Vec<Vec<u8>>, lapin::Error> {
    let mut bodies = Vec::new();
    for _ in 0..READ_MAX {
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
