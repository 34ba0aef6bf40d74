//! Keeps a publishing connection: connect → verify the queues → publish → on any trouble drop
//! everything and begin again, with a growing, jittered pause. lapin's own recovery is never used
//! (H4).

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{NotReadyKind, OpenError, Readiness, describe};
use lapin::Connection;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::Options;
use crate::connection::{close, connect};
use crate::declare;
use crate::nodes::Nodes;
use crate::publisher::{Ended, Publisher, Requests, confirming_channel};
use crate::topology::topology;
use crate::troubles::Troubles;
use crate::watch::{look_after, missing_text};

/// First pause after a loss.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// Longest pause: bounds how long a broker that is back goes unnoticed.
const PAUSE_LONGEST: Duration = Duration::from_secs(3);

/// How often a blocked or dead connection is looked for while nothing is published.
const WATCH: Duration = Duration::from_millis(250);

/// Why nothing is published during an alarm.
const ALARM: &str = "the broker has a resource alarm and takes nothing";

/// A connection that can be published over, or the queues that are missing. None is ever declared
/// here: one that is gone was deleted with what was in it, and a person must know.
pub(crate) enum Established {
    Whole(Connection),
    Missing(Vec<String>),
}

/// Connects and verifies the queues.
pub(crate) async fn establish(options: &Options, nodes: &Nodes) -> Result<Established, OpenError> {
    let connection = connect(options, nodes, "publish").await?;
    match verify(options, nodes, &connection).await {
        Ok(missing) if missing.is_empty() => Ok(Established::Whole(connection)),
        Ok(missing) => {
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
            Err(error) if options.management_required => return Err(error.into()),
            Err(error) => {
                let why = describe(&error);
                tracing::warn!(error = why, "policies and members are not looked at: {why}");
            }
        }
    }
    let missing = declare::look(options, connection).await?;
    Ok(missing.into_iter().map(|queue| queue.name).collect())
}

/// The supervisor's whole life.
pub(crate) async fn supervise(
    options: Options,
    nodes: Arc<Nodes>,
    first: Option<Connection>,
    requests: Requests,
    readiness: watch::Sender<Readiness>,
    stop: CancellationToken,
) {
    if nodes.overlay().is_none() {
        tracing::info!(
            "nobody looks for policies over the queues, or for a queue with one member (H13): \
             [broker] management lets this process"
        );
    }
    let mut connection = first;
    let mut pause = PAUSE_FIRST;
    let mut troubles = Troubles::default();
    while !stop.is_cancelled() {
        let established = match connection.take() {
            Some(connection) => Ok(Established::Whole(connection)),
            None => establish(&options, &nodes).await,
        };
        let trouble = match established {
            Ok(Established::Whole(connection)) => {
                pause = PAUSE_FIRST;
                troubles = Troubles::default();
                publish(&options, &nodes, connection, &requests, &readiness, &stop).await;
                None
            }
            Ok(Established::Missing(queues)) => {
                Some((NotReadyKind::Topology, missing_text(&queues)))
            }
            Err(error) => Some((kind_of(&error), describe(&error))),
        };
        if let Some((kind, why)) = trouble {
            troubles.log(kind, &why);
            readiness.send_replace(Readiness::not_ready(kind, why));
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(jittered(pause)) => pause = (pause * 2).min(PAUSE_LONGEST),
        }
    }
    let closed = Readiness::not_ready(NotReadyKind::Closing, "the driver is closed");
    readiness.send_replace(closed);
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
            readiness.send_replace(Readiness::not_ready(NotReadyKind::Unreachable, why));
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
    let (kind, ended) = watch_over(
        options,
        nodes,
        &connection,
        &mut publishers,
        readiness,
        stop,
    )
    .await;
    readiness.send_replace(Readiness::not_ready(kind, ended.clone()));
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
        readiness.send_replace(Readiness::not_ready(NotReadyKind::Alarm, ALARM));
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(WATCH) => {}
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
) -> (NotReadyKind, String) {
    let queues = look_after(options, nodes, connection);
    tokio::pin!(queues);
    loop {
        tokio::select! {
            wrong = &mut queues => return (NotReadyKind::Topology, wrong),
            () = stop.cancelled() => return (NotReadyKind::Closing, "the driver is closing".into()),
            ended = publishers.join_next() => {
                let why = match ended {
                    Some(Ok(ended)) => describe(&ended),
                    Some(Err(_)) | None => "a publisher ended unexpectedly".into(),
                };
                return (NotReadyKind::Unreachable, why);
            }
            () = sleep(WATCH) => {
                let status = connection.status();
                if !status.connected() {
                    return (NotReadyKind::Unreachable, "the connection was lost".into());
                }
                let now = if status.blocked() {
                    Readiness::not_ready(NotReadyKind::Alarm, ALARM)
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

/// The class of what keeps the broker from being used.
fn kind_of(error: &OpenError) -> NotReadyKind {
    match error {
        OpenError::Unavailable { .. } => NotReadyKind::Unreachable,
        OpenError::Topology(_) | OpenError::Unsafe { .. } => NotReadyKind::Topology,
        OpenError::Refused { .. }
        | OpenError::Environment { .. }
        | OpenError::SchemaOlder { .. }
        | OpenError::SchemaNewer { .. }
        | OpenError::Options { .. } => NotReadyKind::Refused,
    }
}

/// Half to all of a pause, so that instances which lost the broker together do not come back
/// together. The keys of a `RandomState` are random, which is all that spreading takes.
fn jittered(pause: Duration) -> Duration {
    use std::hash::{BuildHasher, RandomState};
    let share = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    pause.mul_f64(0.5 + 0.5 * share)
}
