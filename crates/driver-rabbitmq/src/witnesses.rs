//! Reading the witnesses in place: all are taken and none is settled, and the end of the channel
//! puts them back.
//!
//! Not by a reject: RabbitMQ would append what is rejected behind what was published meanwhile, and
//! the queue, being full, would drop that: the newest. What a channel's end returns goes to the
//! front, so that the oldest is dropped. A reader that dies returns them in the same way.
//!
//! Two readers at a time share what the queue holds between them. So one process reads once at a
//! time, and a read counts when the queue has as many messages a moment later as it returned: then
//! no other process held any of them. Several such reads are combined, with pauses that differ.

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

/// Far more than the queue may hold: it bounds what one read takes.
const READ_MAX: usize = 64;

/// Reads that must count.
const COUNTING: u32 = 2;

/// Reads, at most. Messages that other readers hold during all of them are not seen.
const READINGS_MAX: u32 = 12;

/// After each, at most. Longer than one takes.
const PAUSE: Duration = Duration::from_millis(100);

/// Reads what the queue holds, beside other readers.
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

/// How many messages are not held by any reader.
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
    // Also after a failed read: the messages it has taken are returned now.
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
