//! Keeps a publishing connection: connect → verify the queues → publish → on any trouble drop
//! everything and begin again, with a growing, jittered pause. lapin's own recovery is never used
//! (H4).

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{OpenError, Readiness, TopologyDifference, describe};
use lapin::Connection;
use lapin::protocol::AMQPSoftError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::Options;
use crate::connection::{close, connect};
use crate::nodes::Nodes;
use crate::publisher::{Ended, Publisher, Requests, confirming_channel};
use crate::topology::{Absent, Topology, TopologyError, Verified, soft_error, topology, verify};

/// First pause after a loss.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// Longest pause: bounds how long a broker that is back goes unnoticed.
const PAUSE_LONGEST: Duration = Duration::from_secs(3);

/// How often a blocked or dead connection is looked for while nothing is published.
const WATCH: Duration = Duration::from_millis(250);

/// Why nothing is published during an alarm.
const ALARM: &str = "the broker has a resource alarm and takes nothing";

/// How often the queues are compared with what they must be. Together with [`LOOK_DEADLINE`] it
/// bounds how long a deleted or replaced queue goes unnoticed while nothing is published.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long one look may take; a broker that does not answer is noticed otherwise.
const LOOK_DEADLINE: Duration = Duration::from_secs(2);

/// A connection whose queues are verified. Only the first one declares those that are missing:
/// later, one that is gone was deleted by somebody.
pub(crate) async fn establish(
    options: &Options,
    nodes: &Nodes,
    first: bool,
) -> Result<Connection, OpenError> {
    let connection = connect(options, nodes, "publish").await?;
    let topology = topology(&options.environment, &options.routes);
    let unavailable = |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Unavailable {
        what: "the broker",
        source,
    };
    let absent = if first && options.declare {
        Absent::Declare
    } else {
        Absent::Tell
    };
    let verifying = verify(&connection, &options.environment, &topology, absent);
    match timeout(options.connect_deadline, verifying).await {
        Ok(Ok(Verified::Good { declared })) => {
            for queue in declared {
                tracing::info!(queue, "queue {queue} is declared");
            }
            match overlaid(nodes, &topology, &mut false).await {
                differences if differences.is_empty() => Ok(connection),
                differences => {
                    close(&connection, options.close_deadline).await;
                    Err(TopologyError(differences).into())
                }
            }
        }
        Ok(Ok(Verified::Missing(queues))) => {
            close(&connection, options.close_deadline).await;
            Err(unavailable(gone(&queues).into()))
        }
        Ok(Ok(Verified::Different(differences))) => {
            close(&connection, options.close_deadline).await;
            Err(TopologyError(differences).into())
        }
        Ok(Err(error)) => Err(unavailable(error.into())),
        Err(_elapsed) => Err(unavailable(
            "its queues could not be verified in time".into(),
        )),
    }
}

/// The supervisor's whole life.
pub(crate) async fn supervise(
    options: Options,
    nodes: Arc<Nodes>,
    first: Connection,
    requests: Requests,
    readiness: watch::Sender<Readiness>,
    stop: CancellationToken,
) {
    let mut connection = Some(first);
    let mut pause = PAUSE_FIRST;
    while !stop.is_cancelled() {
        let established = match connection.take() {
            Some(connection) => Ok(connection),
            None => establish(&options, &nodes, false).await,
        };
        match established {
            Ok(established) => {
                pause = PAUSE_FIRST;
                publish(&options, &nodes, established, &requests, &readiness, &stop).await;
            }
            Err(error) => {
                let why = describe(&error);
                tracing::warn!(error = why, "the broker cannot be used yet: {why}");
                readiness.send_replace(Readiness::NotReady(why));
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(jittered(pause)) => pause = (pause * 2).min(PAUSE_LONGEST),
        }
    }
    readiness.send_replace(Readiness::NotReady("the driver is closed".into()));
}

/// Publishes over one connection until anything is wrong with it.
async fn publish(
    options: &Options,
    nodes: &Nodes,
    connection: Connection,
    requests: &Requests,
    readiness: &watch::Sender<Readiness>,
    stop: &CancellationToken,
) {
    let connection = Arc::new(connection);
    let mut publishers = JoinSet::new();
    for _ in 0..options.publish_channels.max(1) {
        let opening = timeout(options.connect_deadline, confirming_channel(&connection));
        let Ok(Ok(channel)) = opening.await else {
            let why = "no channel could be opened";
            tracing::warn!(why, "the publishing connection is given up: {why}");
            readiness.send_replace(Readiness::NotReady(why.into()));
            close(&connection, options.close_deadline).await;
            return;
        };
        let publisher = Publisher {
            connection: Arc::clone(&connection),
            channel,
            requests: Arc::clone(requests),
            confirm_deadline: options.confirm_deadline,
            round_max: options.round_max,
        };
        publishers.spawn(publisher.run());
    }
    readiness.send_replace(Readiness::Ready);
    let ended = watch_over(
        options,
        nodes,
        &connection,
        &mut publishers,
        readiness,
        stop,
    )
    .await;
    readiness.send_replace(Readiness::NotReady(ended.clone()));
    // Closing is nothing to warn of, whatever the publishers said of it first.
    if !stop.is_cancelled() {
        tracing::warn!(
            why = ended,
            "the publishing connection is given up: {ended}"
        );
    }
    // A publisher that is stopped in a round drops its requests: their senders are told so.
    publishers.shutdown().await;
    sit_out_alarm(&connection, readiness, stop).await;
    close(&connection, options.close_deadline).await;
}

/// Waits for the end of a resource alarm on the connection that it has blocked. A new connection
/// would look well until something is published over it: an alarm blocks only who publishes.
async fn sit_out_alarm(
    connection: &Connection,
    readiness: &watch::Sender<Readiness>,
    stop: &CancellationToken,
) {
    let is_blocked = || connection.status().connected() && connection.status().blocked();
    while is_blocked() && !stop.is_cancelled() {
        readiness.send_replace(Readiness::NotReady(ALARM.into()));
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(WATCH) => {}
        }
    }
}

/// In words that say what to do.
fn gone(queues: &[String]) -> String {
    format!(
        "queue {} is gone: somebody deleted it, and what was in it is lost, or it was never \
         declared; nothing is accepted until a start of hookbox or `hookbox queues declare` does",
        queues.join(", ")
    )
}

/// The queues that are not there. Changes nothing.
///
/// # Errors
/// When the broker cannot be reached, or a queue differs from what hookbox declares.
pub async fn missing(options: &Options) -> Result<Vec<String>, OpenError> {
    let nodes = Nodes::of(options)?;
    let connection = connect(options, &nodes, "look").await?;
    let topology = topology(&options.environment, &options.routes);
    let looking = verify(&connection, &options.environment, &topology, Absent::Tell);
    let looked = timeout(options.connect_deadline, looking).await;
    close(&connection, options.close_deadline).await;
    let unavailable = |source: Box<dyn std::error::Error + Send + Sync>| OpenError::Unavailable {
        what: "the broker",
        source,
    };
    match looked {
        Ok(Ok(Verified::Good { .. })) => Ok(Vec::new()),
        Ok(Ok(Verified::Missing(queues))) => Ok(queues),
        Ok(Ok(Verified::Different(differences))) => Err(TopologyError(differences).into()),
        Ok(Err(error)) => Err(unavailable(error.into())),
        Err(elapsed) => Err(unavailable(elapsed.into())),
    }
}

/// What lies over the queues, as far as the management API tells. One that is away is no fault of
/// the queues: it is told once, by `told`.
async fn overlaid(nodes: &Nodes, topology: &Topology, told: &mut bool) -> Vec<TopologyDifference> {
    let Some(management) = nodes.management() else {
        return Vec::new();
    };
    let queues: Vec<String> = topology.queues.iter().map(|it| it.name.clone()).collect();
    match management.look(&queues).await {
        Ok(differences) => {
            *told = false;
            differences
        }
        Err(error) => {
            if !std::mem::replace(told, true) {
                tracing::warn!(
                    error = describe(&error),
                    "policies and members of the queues are not watched now"
                );
            }
            Vec::new()
        }
    }
}

fn in_words(differences: &[TopologyDifference]) -> String {
    let one = |it: &TopologyDifference| format!("queue {}: {}", it.queue, it.difference);
    differences.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Whether we may not even look any more.
fn is_refused(error: &lapin::Error) -> bool {
    matches!(soft_error(error), Some((AMQPSoftError::ACCESSREFUSED, _)))
}

/// Looks at the queues until one of them is not as it must be, and says which.
async fn look_after_queues(options: &Options, nodes: &Nodes, connection: &Connection) -> String {
    let topology = topology(&options.environment, &options.routes);
    let mut told = false;
    loop {
        sleep(LOOK_EVERY).await;
        if connection.status().blocked() {
            // It answers nothing before its alarm is over.
            continue;
        }
        let look = verify(connection, &options.environment, &topology, Absent::Tell);
        match timeout(LOOK_DEADLINE, look).await {
            Ok(Ok(Verified::Missing(queues))) => return gone(&queues),
            Ok(Ok(Verified::Different(differences))) => return in_words(&differences),
            // The channels that are open go on with what they were once allowed; the next
            // connection would not.
            Ok(Err(error)) if is_refused(&error) => return error.to_string(),
            // What is wrong with the connection itself shows elsewhere.
            Ok(Ok(Verified::Good { .. }) | Err(_)) | Err(_) => {}
        }
        let differences = overlaid(nodes, &topology, &mut told).await;
        if !differences.is_empty() {
            return in_words(&differences);
        }
    }
}

/// Returns why the connection must be given up.
async fn watch_over(
    options: &Options,
    nodes: &Nodes,
    connection: &Connection,
    publishers: &mut JoinSet<Ended>,
    readiness: &watch::Sender<Readiness>,
    stop: &CancellationToken,
) -> String {
    let queues = look_after_queues(options, nodes, connection);
    tokio::pin!(queues);
    loop {
        tokio::select! {
            wrong = &mut queues => return wrong,
            () = stop.cancelled() => return "the driver is closing".into(),
            ended = publishers.join_next() => {
                return match ended {
                    Some(Ok(ended)) => describe(&ended),
                    Some(Err(_)) | None => "a publisher ended unexpectedly".into(),
                };
            }
            () = sleep(WATCH) => {
                let status = connection.status();
                if !status.connected() {
                    return "the connection was lost".into();
                }
                let now = if status.blocked() {
                    Readiness::NotReady(ALARM.into())
                } else {
                    Readiness::Ready
                };
                readiness.send_if_modified(|was| {
                    let changed = *was != now;
                    *was = now.clone();
                    changed
                });
            }
        }
    }
}

/// Half to all of a pause, so that instances which lost the broker together do not come back
/// together. The keys of a `RandomState` are random, which is all that spreading takes.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let share = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    pause.mul_f64(0.5 + 0.5 * share)
}
