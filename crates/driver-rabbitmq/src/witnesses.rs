//! Reading the witnesses in place: all are taken and none is settled, and the end of the channel
//! puts them back.
//!
//! Not by a reject: RabbitMQ would append what is rejected behind what was published meanwhile, and
//! the queue, being full, would drop that: the newest. What a channel's end returns goes to the
//! front, so that it is the oldest that goes. A reader that dies returns them in the same way.

use std::time::Duration;

use hookbox_driver::{Fault, FaultKind};
use hookbox_event::Witness;
use lapin::options::BasicGetOptions;
use lapin::{Channel, Connection};
use tokio::time::timeout;

use crate::diagnose::{fault, late};

const DOING: &str = "read the witnesses";

/// Far more than the queue may hold: it bounds what one reading takes.
const READ_MAX: usize = 64;

/// Reads all that no other reader has at this moment.
///
/// # Errors
/// When the queue does not answer in time, or holds something that is no witness.
pub(crate) async fn read(
    connection: &Connection,
    queue: &str,
    deadline: Duration,
) -> Result<Vec<Witness>, Fault> {
    let opening = timeout(deadline, connection.create_channel()).await;
    let channel = opening
        .map_err(|_elapsed| late(DOING))?
        .map_err(|error| fault(DOING, error))?;
    let taken = timeout(deadline, take(&channel, queue)).await;
    // Also after a reading that failed: what it has taken goes back now.
    let closed = timeout(deadline, channel.close(200, "they were read".into())).await;
    let bodies = taken
        .map_err(|_elapsed| late(DOING))?
        .map_err(|error| fault(DOING, error))?;
    closed
        .map_err(|_elapsed| late(DOING))?
        .map_err(|error| fault(DOING, error))?;
    bodies.iter().map(|body| decode(body)).collect()
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
