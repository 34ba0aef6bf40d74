//! The task that owns the connection and the channel of an [`super::ExchangePublisher`] (H1). It
//! works in publish rounds, as the publishers of hookbox's own queues do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hookbox_driver::OpenError;
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions};
use lapin::protocol::AMQPSoftError;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind, PublisherConfirm};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::error::ExchangeError;
use super::message::{ExchangeMessage, HeaderValue};
use super::round::{RoundResults, results};
use crate::Options;
use crate::connection::{close, connect};
use crate::nodes::Nodes;
use crate::publisher::confirming_channel;
use crate::refusal::{is_refused, soft_error, unavailable};

/// The largest length in bytes of a routing key, a message id and a content type. In AMQP 0-9-1
/// they are short strings.
const SHORT_MAX: usize = 255;

/// A message that is to be published, and the channel on which its caller waits for the result.
pub(super) struct Request {
    pub message: ExchangeMessage,
    pub answer: oneshot::Sender<Result<(), ExchangeError>>,
    /// Set to `true` by the task before it publishes the message, or by the caller before it gives
    /// up the message, whichever is first. The task does not publish a message that the caller has
    /// given up.
    pub is_decided: Arc<AtomicBool>,
}

pub(super) struct Task {
    pub options: Arc<Options>,
    pub nodes: Nodes,
    pub exchange: String,
    pub requests: mpsc::Receiver<Request>,
    pub stop: CancellationToken,
}

/// A connection, and the channel on which the task publishes.
struct Opened {
    connection: Connection,
    channel: Channel,
    /// Whether another publish round may use the channel.
    is_usable: bool,
}

impl Task {
    pub async fn run(mut self) {
        let mut opened: Option<Opened> = None;
        while let Some(round) = self.next_round().await {
            let mut current = match self.connection(opened.take()).await {
                Ok(current) => current,
                Err(error) => {
                    answer_all(round, &error);
                    continue;
                }
            };
            if current.connection.status().blocked() {
                // lapin writes nothing while the broker has a resource alarm, so a publish would
                // hang.
                answer_all(round, &ExchangeError::Blocked);
                opened = Some(current);
                continue;
            }
            current.is_usable = self.publish(&current, round).await;
            if current.is_usable || current.connection.status().blocked() {
                opened = Some(current);
            } else {
                close(&current.connection, self.options.close_deadline).await;
            }
        }
        if let Some(last) = opened {
            close(&last.connection, self.options.close_deadline).await;
        }
    }

    /// Returns the open connection if it can be used, or else opens another one.
    ///
    /// A connection that the broker has blocked is kept until the resource alarm is over. RabbitMQ
    /// blocks a connection only when something is published over it. So a new connection would seem
    /// usable, and the messages published over it would get no confirm.
    async fn connection(&self, opened: Option<Opened>) -> Result<Opened, ExchangeError> {
        if let Some(current) = opened {
            let status = current.connection.status();
            if status.connected() && (current.is_usable || status.blocked()) {
                return Ok(current);
            }
            close(&current.connection, self.options.close_deadline).await;
        }
        self.open().await
    }

    /// Waits for a message, and also takes other messages that wait, up to `round_max` in total.
    /// Returns `None` when the publisher is closed.
    async fn next_round(&mut self) -> Option<Vec<Request>> {
        let first = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            first = self.requests.recv() => first?,
        };
        let mut round = vec![first];
        while round.len() < self.options.round_max.max(1)
            && let Ok(next) = self.requests.try_recv()
        {
            round.push(next);
        }
        round.retain(|request| !request.answer.is_closed());
        Some(round)
    }

    /// Connects, and checks that the exchange exists.
    async fn open(&self) -> Result<Opened, ExchangeError> {
        let unusable = |error: OpenError| ExchangeError::Unavailable(Arc::new(error));
        let connection = connect(&self.options, &self.nodes, "publish for users");
        let connection = connection.await.map_err(unusable)?;
        match timeout(self.options.connect_deadline, self.channel(&connection)).await {
            Ok(Ok(channel)) => Ok(Opened {
                connection,
                channel,
                is_usable: true,
            }),
            Ok(Err(error)) => {
                close(&connection, self.options.close_deadline).await;
                Err(error)
            }
            Err(_elapsed) => {
                close(&connection, self.options.close_deadline).await;
                let late = "the broker did not open a channel in time";
                Err(unusable(unavailable(late)))
            }
        }
    }

    async fn channel(&self, connection: &Connection) -> Result<Channel, ExchangeError> {
        let refused = |error| match soft_error(&error) {
            Some((AMQPSoftError::NOTFOUND, _)) => ExchangeError::NoExchange(self.exchange.clone()),
            Some(_) | None => {
                let error = self.nodes.account().at_queues(error);
                ExchangeError::Unavailable(Arc::new(error))
            }
        };
        // A passive declaration changes nothing, and the broker does not compare the kind of the
        // exchange.
        let passive = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        let channel = confirming_channel(connection).await.map_err(refused)?;
        let exchange = self.exchange.as_str().into();
        channel
            .exchange_declare(
                exchange,
                ExchangeKind::Direct,
                passive,
                FieldTable::default(),
            )
            .await
            .map_err(refused)?;
        Ok(channel)
    }

    /// Publishes all messages of one publish round, and sends each caller its result. Returns
    /// whether the channel may be used further.
    async fn publish(&self, opened: &Opened, round: Vec<Request>) -> bool {
        let mut sendable = Vec::with_capacity(round.len());
        for request in round {
            if request.is_decided.swap(true, Ordering::AcqRel) {
                // The caller gave up the message while the task was connecting.
                continue;
            }
            match too_long(&request.message) {
                Some(what) => answer(request, Err(ExchangeError::TooLong(what))),
                None => sendable.push(request),
            }
        }
        let deadline = Instant::now() + self.options.confirm_deadline;
        let pending = self.send_all(&opened.channel, &sendable, deadline).await;
        let mut confirms: Vec<Option<Confirmation>> = Vec::with_capacity(pending.len());
        let mut lacks_right = false;
        for confirm in pending {
            confirms.push(match timeout_at(deadline, confirm).await {
                Ok(Ok(confirm)) => Some(confirm),
                Ok(Err(error)) => {
                    lacks_right |= is_refused(&error);
                    None
                }
                Err(_elapsed) => None,
            });
        }
        let ids = sendable.iter().map(|it| it.message.message_id.clone());
        let ids: Vec<String> = ids.collect();
        let RoundResults { each, is_usable } = results(&ids, confirms);
        // After a rejection, the channel is not used further: RabbitMQ remembers for each channel
        // that a queue was full (H16).
        let is_rejected = |result: &Result<(), _>| matches!(result, Err(ExchangeError::Rejected));
        let is_usable = is_usable && !each.iter().any(is_rejected);
        // The reason, if it is known, why some messages of the publish round have no confirm.
        let known = if lacks_right {
            Some(ExchangeError::NoRight(self.exchange.clone()))
        } else if opened.connection.status().blocked() {
            Some(ExchangeError::Blocked)
        } else {
            None
        };
        for (request, result) in sendable.into_iter().zip(each) {
            let result = match (result, &known) {
                (Err(ExchangeError::Unknown), Some(known)) => Err(known.clone()),
                (result, _) => result,
            };
            answer(request, result);
        }
        is_usable
    }

    /// Sends the messages of one publish round, and stops at the first one that cannot be sent.
    async fn send_all(
        &self,
        channel: &Channel,
        round: &[Request],
        deadline: Instant,
    ) -> Vec<PublisherConfirm> {
        let mut pending = Vec::with_capacity(round.len());
        for request in round {
            let message = &request.message;
            let options = BasicPublishOptions {
                mandatory: true,
                immediate: false,
            };
            let sent = channel.basic_publish(
                self.exchange.as_str().into(),
                message.routing_key.as_str().into(),
                options,
                &message.body,
                properties(message),
            );
            match timeout_at(deadline, sent).await {
                Ok(Ok(confirm)) => pending.push(confirm),
                Ok(Err(_)) | Err(_) => break,
            }
        }
        pending
    }
}

fn properties(message: &ExchangeMessage) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in &message.headers {
        let value = match value {
            HeaderValue::Text(text) => AMQPValue::LongString(text.as_str().into()),
            HeaderValue::Number(number) => AMQPValue::LongLongInt(i64::from(*number)),
        };
        headers.insert(name.as_str().into(), value);
    }
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_content_type(message.content_type.as_str().into())
        .with_message_id(message.message_id.as_str().into())
        .with_headers(headers)
}

/// Returns which text of the message is too long for AMQP, if any. With such a text, lapin would
/// fail in the middle of sending the message.
fn too_long(message: &ExchangeMessage) -> Option<&'static str> {
    let texts = [
        ("routing key", &message.routing_key),
        ("message id", &message.message_id),
        ("content type", &message.content_type),
    ];
    let is_too_long = |(_, text): &(&str, &String)| text.len() > SHORT_MAX;
    let headers = message
        .headers
        .iter()
        .map(|(name, _)| ("name of a header", name));
    let mut texts = texts.into_iter().chain(headers);
    texts.find(is_too_long).map(|(what, _)| what)
}

fn answer_all(round: Vec<Request>, error: &ExchangeError) {
    for request in round {
        answer(request, Err(error.clone()));
    }
}

fn answer(request: Request, result: Result<(), ExchangeError>) {
    // Sending the result fails when the caller no longer waits for it.
    let _ = request.answer.send(result);
}
