//! Publishes batches. Each channel is owned by one task (H1), which works in publish rounds: it
//! sends several messages, and waits for all their confirms before it starts the next publish
//! round. So when the broker returns a message, the message belongs to the current publish round
//! (H2).

mod answers;
mod error;
mod request;
mod round;

use std::sync::Arc;
use std::time::Duration;

use hookbox_driver::{NotReadyKind, PublishError, PublishErrorKind, describe};
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use tokio::time::{Instant, timeout};

use crate::late_queues::LateQueues;
use crate::refusal::{Account, is_refused};
use crate::rejections::Rejections;
pub(crate) use error::PublisherError;
pub(crate) use request::{Answer, Reply, Request, Requests};
pub(crate) use round::{RoundEnd, publish_round};

/// A publisher: the task that owns one channel and publishes on it, until something is wrong with
/// the channel.
pub(crate) struct Publisher {
    pub connection: Arc<Connection>,
    pub channel: Channel,
    pub requests: Requests,
    pub rejections: Arc<Rejections>,
    pub late_queues: Arc<LateQueues>,
    pub confirm_deadline: Duration,
    pub round_max: usize,
}

/// Opens a channel on which every publish is confirmed.
pub(crate) async fn confirming_channel(connection: &Connection) -> lapin::Result<Channel> {
    let channel = connection.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

impl Publisher {
    pub async fn run(mut self) -> PublisherError {
        loop {
            let round = self.next_round().await;
            if round.is_empty() {
                continue;
            }
            if self.connection.status().blocked() {
                // While the broker has a resource alarm, lapin writes nothing, so a publish would
                // hang.
                for request in round {
                    let blocked = PublishError::plain(PublishErrorKind::Blocked);
                    request.reply.send(Answer::Published(Err(blocked)));
                }
                continue;
            }
            let began = Instant::now();
            let end = publish_round(&self.channel, round, self.confirm_deadline).await;
            if let Err(ended) = self.settle(began, end).await {
                return ended;
            }
        }
    }

    /// Records the result of a publish round that began then, and opens another channel if this one
    /// must not be used further.
    async fn settle(&mut self, began: Instant, end: RoundEnd) -> Result<(), PublisherError> {
        if let Some(ended) = end.ended {
            return Err(ended);
        }
        if end.is_late_by_alarm(self.connection.status().blocked()) {
            return Err(PublisherError::Late);
        }
        let is_late = !end.late.is_empty();
        self.late_queues
            .record(&end.answered, &end.late, end.last_arrival);
        if is_late && !self.late_queues.has_answered_since(began) {
            return Err(PublisherError::Late);
        }
        self.rejections.record(end.is_any_accepted, Instant::now());
        if is_late {
            self.replace().await
        } else if end.is_any_rejected {
            self.renew().await
        } else {
            Ok(())
        }
    }

    /// Closes the channel and continues on a new one. RabbitMQ remembers for each channel that a
    /// queue was full, and does not forget that when the queue's limit is removed (by clearing a
    /// policy). On the old channel, publishes would be rejected for as long as the channel is open
    /// (H16).
    async fn renew(&mut self) -> Result<(), PublisherError> {
        let renewing = async {
            self.channel
                .close(200, "a batch was rejected".into())
                .await?;
            confirming_channel(&self.connection).await
        };
        let renewed = timeout(self.confirm_deadline, renewing).await;
        self.channel = renewed
            .map_err(|_elapsed| PublisherError::NotRenewed)?
            .map_err(PublisherError::Channel)?;
        Ok(())
    }

    /// Continues on a new channel after a late confirm. The old channel may wait for the late queue
    /// and be closed much later (H7), so this does not wait for that: lapin closes a channel that
    /// is dropped.
    async fn replace(&mut self) -> Result<(), PublisherError> {
        let opening = timeout(self.confirm_deadline, confirming_channel(&self.connection)).await;
        self.channel = opening
            .map_err(|_elapsed| PublisherError::NotRenewed)?
            .map_err(PublisherError::Channel)?;
        Ok(())
    }

    /// Waits for a batch to publish. Also takes other batches that are waiting, up to `round_max`
    /// messages in total. A batch for a queue that is held back goes back to its caller.
    async fn next_round(&self) -> Vec<Request> {
        let mut requests = self.requests.lock().await;
        let Some(first) = requests.recv().await else {
            return std::future::pending().await;
        };
        let mut messages = first.queues.len();
        let mut round = vec![first];
        while messages < self.round_max
            && let Ok(next) = requests.try_recv()
        {
            messages += next.queues.len();
            round.push(next);
        }
        round.retain(|request| !request.reply.is_closed());
        let is_held = |request: &Request| self.late_queues.is_any_held(&request.queues);
        let (held, round): (Vec<Request>, Vec<Request>) = round.into_iter().partition(is_held);
        for request in held {
            request.give_back();
        }
        round
    }
}

impl PublisherError {
    /// Returns why the driver is not ready after this error, as a class and as a text for
    /// operators.
    pub fn trouble(self, account: &Account) -> (NotReadyKind, String) {
        match self {
            PublisherError::Channel(error) if is_refused(&error) => {
                (NotReadyKind::Refused, describe(&account.at_queues(error)))
            }
            PublisherError::Unroutable(_) => (NotReadyKind::Topology, describe(&self)),
            PublisherError::Channel(_)
            | PublisherError::Late
            | PublisherError::Unsent
            | PublisherError::NotConfirming
            | PublisherError::NotRenewed => (NotReadyKind::Unreachable, describe(&self)),
        }
    }

    fn as_publish_error(&self) -> PublishError {
        match self {
            PublisherError::Channel(error) => {
                PublishError::new(PublishErrorKind::Unavailable, error.clone())
            }
            PublisherError::Late | PublisherError::Unsent => {
                PublishError::plain(PublishErrorKind::TimedOut)
            }
            PublisherError::Unroutable(queue) => {
                let why = format!("the queue {queue:?} does not exist");
                PublishError::new(PublishErrorKind::Unroutable, why)
            }
            PublisherError::NotConfirming => {
                let why = "the channel is not in confirm mode";
                PublishError::new(PublishErrorKind::Unavailable, why)
            }
            PublisherError::NotRenewed => PublishError::plain(PublishErrorKind::Unavailable),
        }
    }
}
