//! Establishes a connection for publishing: connects, verifies the queues, opens the channels, and
//! checks that publishing is allowed.

use hookbox_driver::{OpenError, describe};
use lapin::{Channel, Connection};
use tokio::time::timeout;

use crate::Options;
use crate::connection::{close, connect};
use crate::declare::check_queues;
use crate::identity;
use crate::nodes::Nodes;
use crate::probe::{ProbeResult, probe};
use crate::publisher::confirming_channel;
use crate::refusal::unavailable;
use crate::topology::topology;

/// The result of connecting. A missing queue is only reported here and never declared: it may have
/// been deleted together with its messages, and an operator must learn of that.
pub(crate) enum ConnectResult {
    Whole(Box<PublishingConnection>),
    /// The names of the queues that are missing.
    Missing(Vec<String>),
}

/// A connection with its publishing channels.
pub(crate) struct PublishingConnection {
    pub connection: Connection,
    pub channels: Vec<Channel>,
}

/// Connects, verifies the identity stamp and the queues, opens the publishing channels, and checks
/// whether the broker's user may publish.
pub(crate) async fn establish(
    options: &Options,
    nodes: &Nodes,
) -> Result<ConnectResult, OpenError> {
    let connection = connect(options, nodes, "publish").await?;
    let established = async {
        identity::verify(options, nodes.account(), &connection).await?;
        let missing = verify(options, nodes, &connection).await?;
        if !missing.is_empty() {
            return Ok(Err(missing));
        }
        let channels = open_channels(options, nodes, &connection).await?;
        Ok(Ok(channels))
    };
    match established.await {
        Ok(Ok(channels)) => Ok(ConnectResult::Whole(Box::new(PublishingConnection {
            connection,
            channels,
        }))),
        Ok(Err(missing)) => {
            close(&connection, options.close_deadline).await;
            Ok(ConnectResult::Missing(missing))
        }
        Err(error) => {
            close(&connection, options.close_deadline).await;
            Err(error)
        }
    }
}

/// Checks the policies of the queues, and then the queues themselves. Returns the names of the
/// missing queues. A harmful policy or a queue that differs is an error.
async fn verify(
    options: &Options,
    nodes: &Nodes,
    connection: &Connection,
) -> Result<Vec<String>, OpenError> {
    let queues = topology(&options.environment, &options.routes).queues;
    if let Some(overlay) = nodes.overlay() {
        match overlay.check(&queues).await {
            Ok(differences) if differences.is_empty() => {}
            Ok(differences) => return Err(OpenError::Topology(differences)),
            Err(error) if !options.reads_only => return Err(error.into()),
            Err(error) => {
                let why = describe(&error);
                tracing::warn!(
                    error = why,
                    "policies and queue members are not checked: {why}"
                );
            }
        }
    }
    let missing = check_queues(options, nodes.account(), connection).await?;
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
    // All channels are opened before the probe publishes anything. If there is a resource alarm,
    // the publish makes the broker block the connection, and no channel can be opened on a blocked
    // connection.
    let own = open_channel(options, nodes, connection).await?;
    let probing = probe(
        connection,
        own,
        &options.environment,
        options.confirm_deadline,
    );
    match probing.await {
        Ok(ProbeResult::Allowed | ProbeResult::Blocked) => Ok(channels),
        Ok(ProbeResult::Late) => Err(unavailable("the broker did not answer a publish in time")),
        Err(error) => Err(nodes.account().at_queues(error)),
    }
}

async fn open_channel(
    options: &Options,
    nodes: &Nodes,
    connection: &Connection,
) -> Result<Channel, OpenError> {
    let opening = timeout(options.connect_deadline, confirming_channel(connection));
    let late = |_| unavailable("the broker did not open a channel in time");
    let opened = opening.await.map_err(late)?;
    opened.map_err(|error| nodes.account().at_queues(error))
}
