//! Publishes the probes of queues that are held back. Each probe has a channel of its own, so that
//! a queue that does not answer it delays no other message.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hookbox_driver::{PublishError, PublishErrorKind};
use lapin::Connection;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};

use crate::late_queues::{LateQueues, Probe};
use crate::publisher::{Answer, PublisherError, Request, confirming_channel, publish_round};
use crate::rejections::Rejections;

/// A request to publish a probe.
pub(crate) struct ProbeRequest {
    pub request: Request,
    pub probe: Probe,
}

/// The probes that have not begun yet.
pub(crate) type ProbeRequests = Arc<Mutex<mpsc::Receiver<ProbeRequest>>>;

/// The task that publishes all probes of one connection.
pub(crate) struct Prober {
    pub connection: Arc<Connection>,
    pub requests: ProbeRequests,
    pub rejections: Arc<Rejections>,
    pub late_queues: Arc<LateQueues>,
    pub confirm_deadline: Duration,
}

impl Prober {
    /// Publishes probes, several at a time if they are for different queues. Ends when the
    /// connection must be closed: when a channel fails, and not when a confirm is late.
    pub async fn run(self) -> PublisherError {
        let mut requests = self.requests.lock().await;
        let mut probes = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(request) = requests.recv() => probes.push(self.probe(request)),
                Some(probed) = probes.next(), if !probes.is_empty() => {
                    if let Err(ended) = probed {
                        return ended;
                    }
                }
                // The driver is closed, and the supervisor stops this task.
                else => return std::future::pending().await,
            }
        }
    }

    async fn probe(
        &self,
        ProbeRequest { request, probe }: ProbeRequest,
    ) -> Result<(), PublisherError> {
        if request.reply.is_closed() {
            return Ok(());
        }
        if self.connection.status().blocked() {
            let blocked = PublishError::plain(PublishErrorKind::Blocked);
            request.reply.send(Answer::Published(Err(blocked)));
            return Ok(());
        }
        let opening = timeout(self.confirm_deadline, confirming_channel(&self.connection)).await;
        let channel = opening
            .map_err(|_elapsed| PublisherError::NotRenewed)?
            .map_err(PublisherError::Channel)?;
        let end = publish_round(&channel, vec![request], self.confirm_deadline).await;
        if let Some(ended) = end.ended {
            return Err(ended);
        }
        let is_by_alarm = end.is_late_by_alarm(self.connection.status().blocked());
        if !is_by_alarm {
            self.rejections.record(end.is_any_accepted, Instant::now());
        }
        // In a probe, a queue that is not held back may be late because of one that is. So no queue
        // is held back because of a probe.
        self.late_queues
            .record(&end.answered, &[], end.last_arrival);
        // If the wait for the broker's answer is given up, lapin still handles that answer.
        let closing = channel.close(200, "probed".into());
        if end.late.is_empty() {
            drop(probe);
            let _ = timeout(self.confirm_deadline, closing).await;
        } else {
            let wait = if is_by_alarm {
                Duration::ZERO
            } else {
                probe.record_late()
            };
            // Also for a wait of zero, `timeout` polls the closing once, which sends it.
            let _ = timeout(wait, closing).await;
            drop(probe);
        }
        Ok(())
    }
}
