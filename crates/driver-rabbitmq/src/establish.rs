//! A connection that can be published over: connected, its queues verified, its channels open, and
//! publishing allowed.

use hookbox_driver::{OpenError, describe};
use lapin::{Channel, Connection};
use tokio::time::timeout;

use crate::Options;
use crate::connection::{close, connect};
use crate::declare::look;
use crate::nodes::Nodes;
use crate::probe::{Probed, probe};
use crate::publisher::confirming_channel;
use crate::refusal::unavailable;
use crate::topology::topology;

/// What came of it. No queue is ever declared here: one that is gone was deleted with what was in
/// it, and a person must know.
pub(crate) enum Established {
    Whole(Box<Opened>),
    /// These queues are missing.
    Missing(Vec<String>),
}

/// A connection with its publishing channels.
pub(crate) struct Opened {
    pub connection: Connection,
    pub channels: Vec<Channel>,
}

/// Connects, verifies the queues, opens the channels and sees whether publishing is allowed.
pub(crate) async fn establish(options: &Options, nodes: &Nodes) -> Result<Established, OpenError> {
    let connection = connect(options, nodes, "publish").await?;
    let established = async {
        let missing = verify(options, nodes, &connection).await?;
        if !missing.is_empty() {
            return Ok(Err(missing));
        }
        let channels = open_channels(options, nodes, &connection).await?;
        Ok(Ok(channels))
    };
    match established.await {
        Ok(Ok(channels)) => Ok(Established::Whole(Box::new(Opened {
            connection,
            channels,
        }))),
        Ok(Err(missing)) => {
            close(&connection, options.close_deadline).await;
            Ok(Established::Missing(missing))
        }
        Err(error) => {
            close(&connection, options.close_deadline).await;
            Err(error)
        }
    }
}

/// Looks at what lies over the queues, and at the queues. Gives those that are missing.
async fn verify(
    options: &Options,
    nodes: &Nodes,
    connection: &Connection,
) -> Result<Vec<String>, OpenError> {
    let queues = topology(&options.environment, &options.routes).queues;
    if let Some(overlay) = nodes.overlay() {
        match overlay.look(&queues).await {
            Ok(differences) if differences.is_empty() => {}
            Ok(differences) => return Err(OpenError::Topology(differences)),
            Err(error) if !options.reads_only => return Err(error.into()),
            Err(error) => {
                let why = describe(&error);
                tracing::warn!(error = why, "policies and members are not looked at: {why}");
            }
        }
    }
    let missing = look(options, nodes.account(), connection).await?;
    Ok(missing.into_iter().map(|queue| queue.name).collect())
}

async fn open_channels(
    options: &Options,
    nodes: &Nodes,
    connection: &Connection,
) -> Result<Vec<Channel>, OpenError> {
    let mut channels: Vec<Channel> = Vec::new();
    for _ in 0..options.publish_channels.max(1) {
        channels.push(open_channel(options, nodes, connection).await?);
    }
    if options.reads_only {
        return Ok(channels);
    }
    // Opened before anything is published: a connection that is blocked opens none.
    let own = open_channel(options, nodes, connection).await?;
    let probing = probe(
        connection,
        own,
        &options.environment,
        options.confirm_deadline,
    );
    match probing.await {
        Ok(Probed::Allowed | Probed::Blocked) => Ok(channels),
        Ok(Probed::Late) => Err(unavailable("it did not answer a publish in time")),
        Err(error) => Err(nodes.account().at_queues(error)),
    }
}

async fn open_channel(
    options: &Options,
    nodes: &Nodes,
    connection: &Connection,
) -> Result<Channel, OpenError> {
    let opening = timeout(options.connect_deadline, confirming_channel(connection));
    let late = |_| unavailable("it did not open a channel in time");
    let opened = opening.await.map_err(late)?;
    opened.map_err(|error| nodes.account().at_queues(error))
}
