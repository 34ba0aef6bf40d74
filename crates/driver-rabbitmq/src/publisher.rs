//! Publishes batches. Each channel is owned by one task (H1), which works in publish rounds: it
//! sends several messages, and waits for all their confirms before it starts the next publish
//! round. So when the broker returns a message, the message belongs to the current publish round
//! (H2).

mod answers;
mod error;

use std::sync::Arc;
use std::time::Duration;

use hookbox_crash::crash_point;
use hookbox_driver::{Batch, NotReadyKind, PublishError, PublishErrorKind, describe};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, PublisherConfirm};
use tokio::sync::{Mutex, OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::refusal::{Account, is_refused};
use crate::rejections::Rejections;
use answers::{PublishConfirm, RoundAnswers, answers};
pub(crate) use error::PublisherError;

/// A batch, the queues to publish it to, and the channel on which the caller waits for the result.
pub(crate) struct Request {
    pub queues: Vec<String>,
    pub batch: Batch,
    pub answer: oneshot::Sender<Result<(), PublishError>>,
    /// The permits of the two limits on unconfirmed messages: the first is for the number of the
    /// request's messages, and the second for their bytes. They are held until the result of the
    /// request is known.
    pub room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// The queue of batches that no publisher has taken yet. All publishers take from this queue.
pub(crate) type Requests = Arc<Mutex<mpsc::Receiver<Request>>>;

/// A publisher: the task that owns one channel and publishes on it, until something is wrong with
/// the channel.
pub(crate) struct Publisher {
    pub connection: Arc<Connection>,
    pub channel: Channel,
    pub requests: Requests,
    pub rejections: Arc<Rejections>,
    pub confirm_deadline: Duration,
    pub round_max: usize,
}

/// A publish whose confirm has not arrived yet.
struct Pending {
    request: usize,
    confirm: PublisherConfirm,
}

/// The result of a publish round after which the channel may be used further. A publish round is
/// what one channel publishes before it waits for the confirms.
enum RoundResult {
    Taken,
    /// The broker rejected some publishes; it may have accepted other publishes.
    Rejected,
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
                    answer(request, Err(PublishError::plain(PublishErrorKind::Blocked)));
                }
                continue;
            }
            let settled = match self.publish(round).await {
                Ok(RoundResult::Taken) => Ok(()),
                Ok(RoundResult::Rejected) => self.renew().await,
                Err(ended) => Err(ended),
            };
            if let Err(ended) = settled {
                return ended;
            }
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

    /// Waits for a batch to publish. Also takes other batches that are waiting, up to `round_max`
    /// messages in total.
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
        round.retain(|request| !request.answer.is_closed());
        round
    }

    /// Publishes all batches of one publish round, and then waits for every confirm. One deadline
    /// covers publishing and waiting.
    async fn publish(&self, round: Vec<Request>) -> Result<RoundResult, PublisherError> {
        let deadline = Instant::now() + self.confirm_deadline;
        let sent = self.send_all(&round, deadline).await;
        crash_point!("rabbitmq.before_confirm");
        let outcomes = match sent {
            Ok(pending) => confirms(pending, deadline).await,
            // A publish failed. Then no batch of the publish round counts as accepted, so the
            // confirms of the earlier publishes are not waited for.
            Err(lost) => vec![lost],
        };
        crash_point!("rabbitmq.after_confirm");
        let publishes: Vec<usize> = round.iter().map(|it| it.queues.len()).collect();
        let RoundAnswers { each, ended } = answers(&publishes, outcomes);
        let rejected = each.iter().any(Result::is_err);
        if ended.is_none() {
            self.note(&each);
        }
        for (request, result) in round.into_iter().zip(each) {
            answer(request, result);
        }
        match ended {
            Some(ended) => Err(ended),
            None if rejected => Ok(RoundResult::Rejected),
            None => Ok(RoundResult::Taken),
        }
    }

    /// Records for [`Rejections`] whether the broker has confirmed any batch of a publish round, or
    /// has rejected all of them.
    fn note(&self, each: &[Result<(), PublishError>]) {
        if each.iter().any(Result::is_ok) {
            self.rejections.confirmed();
        } else {
            self.rejections.rejected(Instant::now());
        }
    }

    async fn send_all(
        &self,
        round: &[Request],
        deadline: Instant,
    ) -> Result<Vec<Pending>, PublishConfirm> {
        let mut pending = Vec::new();
        for (index, request) in round.iter().enumerate() {
            for queue in &request.queues {
                let ended = match timeout_at(deadline, self.send(queue, &request.batch)).await {
                    Ok(Ok(confirm)) => {
                        pending.push(Pending {
                            request: index,
                            confirm,
                        });
                        continue;
                    }
                    Ok(Err(error)) => PublisherError::Channel(error),
                    Err(_elapsed) => PublisherError::Late,
                };
                return Err(PublishConfirm {
                    request: index,
                    confirm: Err(ended),
                });
            }
        }
        Ok(pending)
    }

    async fn send(&self, queue: &str, batch: &Batch) -> Result<PublisherConfirm, lapin::Error> {
        let options = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        self.channel
            .basic_publish(
                "".into(),
                queue.into(),
                options,
                &batch.bytes,
                properties(queue, batch),
            )
            .await
    }
}

/// Waits for the confirms one after the other. Stops at the first publish whose confirm is lost or
/// late.
async fn confirms(pending: Vec<Pending>, deadline: Instant) -> Vec<PublishConfirm> {
    let mut outcomes = Vec::with_capacity(pending.len());
    for Pending { request, confirm } in pending {
        let confirm = match timeout_at(deadline, confirm).await {
            Ok(Ok(confirm)) => Ok(confirm),
            Ok(Err(error)) => Err(PublisherError::Channel(error)),
            Err(_elapsed) => Err(PublisherError::Late),
        };
        let lost = confirm.is_err();
        outcomes.push(PublishConfirm { request, confirm });
        if lost {
            break;
        }
    }
    outcomes
}

/// Returns the AMQP properties of a message. They are for operators, who see them on the broker's
/// management page.
fn properties(queue: &str, batch: &Batch) -> BasicProperties {
    let mut headers = FieldTable::default();
    let text = |text: String| AMQPValue::LongString(text.into());
    headers.insert("topic".into(), text(batch.topic.to_string()));
    headers.insert("count".into(), AMQPValue::LongLongInt(batch.count as i64));
    headers.insert(
        "first-receipt".into(),
        text(batch.first_receipt.to_string()),
    );
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type("application/vnd.hookbox.batch".into())
        .with_message_id(format!("{}:{queue}", batch.first_receipt).into())
        .with_headers(headers)
}

fn answer(request: Request, result: Result<(), PublishError>) {
    drop(request.room);
    // Sending the result fails when the caller no longer waits for it. Such a caller has already
    // reported a failure, so the result is not needed.
    let _ = request.answer.send(result);
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
            | PublisherError::NotConfirming
            | PublisherError::NotRenewed => (NotReadyKind::Unreachable, describe(&self)),
        }
    }

    fn as_publish_error(&self) -> PublishError {
        match self {
            PublisherError::Channel(error) => {
                PublishError::new(PublishErrorKind::Unavailable, error.clone())
            }
            PublisherError::Late => PublishError::plain(PublishErrorKind::TimedOut),
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
