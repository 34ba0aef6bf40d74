//! Keeps one connection for publishing. The supervisor connects and publishes. After any error it
//! closes the connection and, after a pause that grows and is randomised, connects again. lapin's
//! own recovery is never used (H4).

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{NotReadyKind, Readiness, describe};
use lapin::Connection;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::Options;
use crate::connection::close;
use crate::establish::{ConnectResult, PublishingConnection, establish};
use crate::jitter::jittered;
use crate::late_queues::LateQueues;
use crate::nodes::Nodes;
use crate::prober::{ProbeRequests, Prober};
use crate::publisher::{Publisher, PublisherError, Requests};
use crate::rejections::Rejections;
use crate::troubles::Troubles;
use crate::watch::{missing_text, monitor};

/// The pause between the loss of a connection and the first try to connect again.
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// The longest pause between two attempts to connect. It is the longest time for which a broker
/// that is available again goes unnoticed.
const PAUSE_LONGEST: Duration = Duration::from_secs(3);

/// How often the supervisor checks whether the connection is blocked or lost.
const WATCH: Duration = Duration::from_millis(250);

/// The reason that is shown while nothing can be published because of a resource alarm.
const ALARM: &str = "the broker has a resource alarm and accepts nothing";

/// The supervisor of the publishing connection of one driver.
pub(crate) struct Supervisor {
    pub options: Options,
    pub nodes: Arc<Nodes>,
    pub requests: Requests,
    pub probes: ProbeRequests,
    pub rejections: Arc<Rejections>,
    pub late_queues: Arc<LateQueues>,
    pub readiness: watch::Sender<Readiness>,
    pub stop: CancellationToken,
}

impl Supervisor {
    /// Runs until the driver is closed. Publishes over `first`, if it is given, and then connects
    /// and publishes again and again.
    pub async fn run(self, first: Option<Box<PublishingConnection>>) {
        if self.nodes.overlay().is_none() {
            tracing::info!(
                "RabbitMQ policies and single-replica queues are not monitored; set \
                 `[broker] management` to enable it (H13)"
            );
        }
        let mut opened = first;
        let mut pause = PAUSE_FIRST;
        let mut troubles = Troubles::default();
        while !self.stop.is_cancelled() {
            let established = match opened.take() {
                Some(opened) => Ok(ConnectResult::Whole(opened)),
                None => establish(&self.options, &self.nodes).await,
            };
            let trouble = match established {
                Ok(ConnectResult::Whole(opened)) => {
                    pause = PAUSE_FIRST;
                    troubles = Troubles::default();
                    self.publish(opened).await;
                    None
                }
                Ok(ConnectResult::Missing(queues)) => {
                    Some((NotReadyKind::Topology, missing_text(&queues)))
                }
                Err(error) => Some((error.not_ready_kind(), describe(&error))),
            };
            if let Some((kind, why)) = trouble {
                troubles.log(kind, &why);
                self.not_ready(kind, why);
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(jittered(pause)) => pause = (pause * 2).min(PAUSE_LONGEST),
            }
        }
        self.not_ready(NotReadyKind::Closing, "the driver is closed");
    }

    fn not_ready(&self, kind: NotReadyKind, why: impl Into<String>) {
        self.readiness.send_replace(Readiness::not_ready(kind, why));
    }

    /// Publishes over one connection until something is wrong with that connection.
    async fn publish(&self, opened: Box<PublishingConnection>) {
        let PublishingConnection {
            connection,
            channels,
        } = *opened;
        let connection = Arc::new(connection);
        let mut publishers = JoinSet::new();
        for channel in channels {
            let publisher = Publisher {
                connection: Arc::clone(&connection),
                channel,
                requests: Arc::clone(&self.requests),
                rejections: Arc::clone(&self.rejections),
                late_queues: Arc::clone(&self.late_queues),
                confirm_deadline: self.options.confirm_deadline,
                round_max: self.options.round_max,
            };
            publishers.spawn(publisher.run());
        }
        let prober = Prober {
            connection: Arc::clone(&connection),
            requests: Arc::clone(&self.probes),
            rejections: Arc::clone(&self.rejections),
            late_queues: Arc::clone(&self.late_queues),
            confirm_deadline: self.options.confirm_deadline,
        };
        publishers.spawn(prober.run());
        let (kind, ended) = self.watch_over(&connection, &mut publishers).await;
        self.rejections.show(false);
        self.not_ready(kind, ended.clone());
        // During a shutdown the publishers' errors are expected, so no warning is logged.
        if !self.stop.is_cancelled() {
            tracing::warn!(why = ended, "the publishing connection is closed: {ended}");
        }
        // A publisher that is stopped while it publishes drops its batches, so that the callers
        // that wait for their results get an error.
        publishers.shutdown().await;
        self.sit_out_alarm(&connection).await;
        close(&connection, self.options.close_deadline).await;
    }

    /// Waits for the end of a resource alarm, on the connection that the broker has blocked because
    /// of the alarm. RabbitMQ blocks a connection only when something is published over it, so a
    /// new connection would seem usable until its first publish.
    async fn sit_out_alarm(&self, connection: &Connection) {
        let is_blocked = || connection.status().connected() && connection.status().blocked();
        while is_blocked() && !self.stop.is_cancelled() {
            self.not_ready(NotReadyKind::Alarm, ALARM);
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(WATCH) => {}
            }
        }
    }

    /// Monitors the connection, its publishers and its queues. When something is wrong, returns the
    /// class of the reason and the reason as a text.
    async fn watch_over(
        &self,
        connection: &Connection,
        publishers: &mut JoinSet<PublisherError>,
    ) -> (NotReadyKind, String) {
        let queues = monitor(&self.options, &self.nodes, connection);
        tokio::pin!(queues);
        loop {
            let now = self.now(connection);
            self.readiness.send_if_modified(|was| {
                let changed = *was != now;
                *was = now;
                changed
            });
            tokio::select! {
                wrong = &mut queues => return wrong,
                () = self.stop.cancelled() => {
                    return (NotReadyKind::Closing, "the driver is closing".into());
                }
                ended = publishers.join_next() => {
                    return match ended {
                        Some(Ok(ended)) => ended.trouble(self.nodes.account()),
                        Some(Err(_)) | None => {
                            let why = "a publisher ended unexpectedly";
                            (NotReadyKind::Unreachable, why.into())
                        }
                    };
                }
                () = sleep(WATCH) => {
                    if !connection.status().connected() {
                        return (NotReadyKind::Unreachable, "the connection was lost".into());
                    }
                }
            }
        }
    }

    /// Returns whether the broker would accept a publish over this connection at present.
    fn now(&self, connection: &Connection) -> Readiness {
        if connection.status().blocked() {
            return Readiness::not_ready(NotReadyKind::Alarm, ALARM);
        }
        let lasting = self.rejections.lasting(Instant::now());
        if self.rejections.show(lasting.is_some()) {
            tracing::error!(
                "for several seconds, the broker has rejected every publish or not confirmed it in \
                 time: its queues are full, or have no majority of their members; further \
                 publishes are still tried"
            );
        }
        match lasting {
            // The text does not say for how many seconds the broker has rejected publishes, because
            // a text that changes would be logged each time as a new reason.
            Some(_) => Readiness::not_ready(
                NotReadyKind::Refused,
                "the broker rejects every publish, or does not confirm it in time: its queues are \
                 full, or have no majority of their members (`rabbitmqctl list_queues name \
                 messages state`, `rabbitmq-queues quorum_status QUEUE`)",
            ),
            None => Readiness::Ready,
        }
    }
}
