//! Publishes one publish round: sends several messages over one channel, waits for their confirms,
//! and answers their callers. Four rules hold:
//!
//! - A request is answered `Ok` only if each of its publishes was acked, and none was returned.
//! - A publish whose confirm is late is neither accepted nor refused: the broker may have stored
//!   it. The channel must not be used for another publish round, because what arrives late would be
//!   attributed to a message of that round (H2).
//! - A late confirm of one message fails no message whose own ack arrived. That message is answered
//!   before its caller's deadline, while the publish round still waits for the others.
//! - Messages of different publish rounds may be stored in another order than they were published.

use std::time::Duration;

use futures_util::FutureExt;
use hookbox_crash::crash_point;
use hookbox_driver::{Batch, PublishError, PublishErrorKind};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, PublisherConfirm};
use tokio::time::{Instant, timeout_at};

use super::answers::{PublishConfirm, RoundAnswers, accepted, answers};
use super::error::PublisherError;
use super::request::{Answer, Reply, Request};

/// How many times, until the deadline, the requests are answered whose confirms have arrived,
/// although others have not.
const PARTS: u32 = 5;

/// What is known at the end of a publish round.
pub(crate) struct RoundEnd {
    /// Whether the broker has accepted any request.
    pub is_any_accepted: bool,
    /// Whether the broker has rejected any request.
    pub is_any_rejected: bool,
    /// The queues for which a confirm or a rejection arrived. Empty when the publisher must end.
    pub answered: Vec<String>,
    /// The queues for which a confirm is late. Empty when the publisher must end.
    pub late: Vec<String>,
    /// When the last confirm or rejection arrived; `None` if none did. A publisher reads them one
    /// after another, so this may be later by the time between two of the [`PARTS`].
    pub last_arrival: Option<Instant>,
    /// The error because of which the publisher must end.
    pub ended: Option<PublisherError>,
}

/// A publish whose confirm has not arrived yet.
struct Pending {
    /// The index of the publish request, and that of the queue in the request.
    place: (usize, usize),
    confirm: PublisherConfirm,
}

struct Round {
    messages: Vec<(Vec<String>, Batch)>,
    /// Where the callers wait; `None` where the caller has its answer.
    replies: Vec<Option<Reply>>,
    pending: Vec<Pending>,
    arrived: Vec<PublishConfirm>,
    last_arrival: Option<Instant>,
}

/// Publishes all requests of one publish round, waits for their confirms, and answers each request.
/// One deadline covers publishing and waiting.
pub(crate) async fn publish_round(
    channel: &Channel,
    requests: Vec<Request>,
    confirm_deadline: Duration,
) -> RoundEnd {
    let began = Instant::now();
    let deadline = began + confirm_deadline;
    let mut round = Round::of(requests);
    round.send_all(channel, deadline).await;
    crash_point!("rabbitmq.before_confirm");
    round.wait(began + confirm_deadline / PARTS).await;
    crash_point!("rabbitmq.after_confirm");
    for part in 2..=PARTS {
        if round.pending.is_empty() {
            break;
        }
        round.answer_accepted();
        round.wait(began + confirm_deadline * part / PARTS).await;
    }
    round.end()
}

impl RoundEnd {
    /// Returns whether a confirm is late because the broker has a resource alarm, and not because
    /// of its queue. `is_blocked` says whether the connection is blocked at the end of the round.
    pub fn is_late_by_alarm(&self, is_blocked: bool) -> bool {
        is_blocked && !self.late.is_empty()
    }
}

impl Round {
    fn of(requests: Vec<Request>) -> Self {
        let (messages, replies) = requests
            .into_iter()
            .map(|it| ((it.queues, it.batch), Some(it.reply)))
            .unzip();
        Self {
            messages,
            replies,
            pending: Vec::new(),
            arrived: Vec::new(),
            last_arrival: None,
        }
    }

    /// Sends all messages. If one cannot be sent, no batch of the publish round counts as accepted,
    /// so the confirms of the earlier publishes are not waited for.
    async fn send_all(&mut self, channel: &Channel, deadline: Instant) {
        for (request, (queues, batch)) in self.messages.iter().enumerate() {
            for (queue, name) in queues.iter().enumerate() {
                let ended = match timeout_at(deadline, send(channel, name, batch)).await {
                    Ok(Ok(confirm)) => {
                        self.pending.push(Pending {
                            place: (request, queue),
                            confirm,
                        });
                        continue;
                    }
                    Ok(Err(error)) => PublisherError::Channel(error),
                    Err(_elapsed) => PublisherError::Unsent,
                };
                self.pending.clear();
                self.arrived.push(PublishConfirm {
                    request,
                    confirm: Err(ended),
                });
                return;
            }
        }
    }

    /// Waits until all confirms have arrived, or until this time. Afterwards, `arrived` holds with
    /// each confirm also all confirms that had arrived before that one.
    async fn wait(&mut self, until: Instant) {
        let mut pending = Vec::new();
        for mut publish in std::mem::take(&mut self.pending) {
            match timeout_at(until, &mut publish.confirm).await {
                Ok(confirm) => self.arrives(publish.place.0, confirm, Instant::now()),
                Err(_elapsed) => pending.push(publish),
            }
        }
        // While this task read the later confirms, one of the earlier ones may have arrived, and
        // with it the return of a message whose own confirm was then read without a return. So the
        // outstanding confirms are read again, until none has arrived since the last one was read.
        loop {
            let before = pending.len();
            for mut publish in std::mem::take(&mut pending) {
                match (&mut publish.confirm).now_or_never() {
                    Some(confirm) => self.arrives(publish.place.0, confirm, Instant::now()),
                    None => pending.push(publish),
                }
            }
            if pending.len() == before {
                break;
            }
        }
        self.pending = pending;
    }

    fn arrives(&mut self, request: usize, confirm: lapin::Result<Confirmation>, now: Instant) {
        self.last_arrival = Some(now);
        self.arrived.push(PublishConfirm {
            request,
            confirm: confirm.map_err(PublisherError::Channel),
        });
    }

    /// Answers the requests that are certainly accepted.
    fn answer_accepted(&mut self) {
        let accepted = accepted(&self.publishes(), &self.arrived);
        for (reply, is_accepted) in self.replies.iter_mut().zip(accepted) {
            if is_accepted && let Some(reply) = reply.take() {
                reply.send(Answer::Published(Ok(())));
            }
        }
    }

    /// Returns the number of publishes of each request.
    fn publishes(&self) -> Vec<usize> {
        let queues = self.messages.iter().map(|(queues, _)| queues.len());
        queues.collect()
    }

    /// Answers all requests that have no answer yet. A confirm that has not arrived is late.
    fn end(mut self) -> RoundEnd {
        let publishes = self.publishes();
        let late: Vec<(usize, usize)> = self.pending.iter().map(|it| it.place).collect();
        for (request, _) in &late {
            self.arrived.push(PublishConfirm {
                request: *request,
                confirm: Err(PublisherError::Late),
            });
        }
        let RoundAnswers { each, ended } = answers(&publishes, self.arrived);
        let was_accepted = self.replies.iter().any(Option::is_none);
        let is_rejected = |result: &Result<(), PublishError>| {
            let error = result.as_ref().err();
            error.is_some_and(|error| error.kind == PublishErrorKind::Rejected)
        };
        let mut end = RoundEnd {
            is_any_accepted: was_accepted || each.iter().any(Result::is_ok),
            is_any_rejected: each.iter().any(is_rejected),
            answered: Vec::new(),
            late: Vec::new(),
            last_arrival: self.last_arrival,
            ended,
        };
        for (reply, result) in self.replies.into_iter().zip(each) {
            if let Some(reply) = reply {
                reply.send(Answer::Published(result));
            }
        }
        if end.ended.is_none() {
            for (request, (queues, _)) in self.messages.into_iter().enumerate() {
                for (queue, name) in queues.into_iter().enumerate() {
                    if late.contains(&(request, queue)) {
                        end.late.push(name);
                    } else {
                        end.answered.push(name);
                    }
                }
            }
        }
        end
    }
}

async fn send(
    channel: &Channel,
    queue: &str,
    batch: &Batch,
) -> Result<PublisherConfirm, lapin::Error> {
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    channel
        .basic_publish(
            "".into(),
            queue.into(),
            options,
            &batch.bytes,
            properties(queue, batch),
        )
        .await
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

#[cfg(test)]
mod tests;
