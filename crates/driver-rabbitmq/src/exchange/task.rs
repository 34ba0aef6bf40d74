//! The task that owns the connection and the channel of an [`super::ExchangePublisher`] (H1). It
//! works in publish rounds, as the publishers of hookbox's own queues do. If the broker closes the
//! channel because of one message, each message of the publish round that has no result is
//! published once more, in a publish round of its own. So the failure affects no other message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hookbox_driver::OpenError;
use lapin::options::ExchangeDeclareOptions;
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ExchangeKind};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::channel::{ExchangeChannel, RoundEnd};
use super::channel_error::ChannelError;
use super::error::ExchangeError;
use super::message::ExchangeMessage;
use crate::Options;
use crate::connection::{close, connect};
use crate::nodes::Nodes;
use crate::publisher::confirming_channel;
use crate::refusal::{soft_error, unavailable};

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

/// What is known while the messages of a publish round are published once more.
struct Repetition {
    /// Why the broker has closed the channel in the publish round.
    error: ChannelError,
    /// Whether a message of the publish round shows that the account may write to the exchange.
    is_allowed: bool,
    /// The messages for which the account lacks a right.
    refused: Vec<Request>,
}

impl Task {
    pub async fn run(mut self) {
        let mut opened: Option<ExchangeChannel> = None;
        while let Some(round) = self.next_round().await {
            opened = self.publish_all(opened.take(), round).await;
        }
        if let Some(last) = opened {
            close(&last.connection, self.options.close_deadline).await;
        }
    }

    /// Publishes all messages of one publish round, and sends each caller its result. Returns the
    /// connection if it may be used further.
    async fn publish_all(
        &self,
        opened: Option<ExchangeChannel>,
        round: Vec<Request>,
    ) -> Option<ExchangeChannel> {
        let mut current = match self.connection(opened).await {
            Ok(current) => current,
            Err(error) => {
                answer_all(round, &error);
                return None;
            }
        };
        if current.is_blocked() {
            // lapin writes nothing while the broker has a resource alarm, so a publish would hang.
            answer_all(round, &ExchangeError::Blocked);
            return Some(current);
        }
        let round = sendable(round);
        let is_single = round.len() == 1;
        let messages: Vec<&ExchangeMessage> = round.iter().map(|it| &it.message).collect();
        let deadline = Instant::now() + self.options.confirm_deadline;
        let RoundEnd {
            each,
            channel_error,
        } = current.publish(&messages, deadline).await;
        let is_allowed = each.iter().any(Option::is_some);
        let mut unresolved = Vec::new();
        for (request, result) in round.into_iter().zip(each) {
            match result {
                Some(result) => answer(request, result),
                None => unresolved.push(request),
            }
        }
        match channel_error {
            Some(error) if !is_single => {
                let repetition = Repetition {
                    error,
                    is_allowed,
                    refused: Vec::new(),
                };
                return self.publish_again(current, unresolved, repetition).await;
            }
            Some(error) => answer_all(unresolved, &error.error_of_cause(&self.exchange)),
            None => answer_all(unresolved, &current.error_without_confirm()),
        }
        self.keep(current).await
    }

    /// Publishes each of these messages once more, in a publish round of its own, after the broker
    /// has closed the channel because of one of them. The message that was the cause is then
    /// refused alone. A message that the broker had already stored is stored twice, with the same
    /// id.
    async fn publish_again(
        &self,
        current: ExchangeChannel,
        unresolved: Vec<Request>,
        mut repetition: Repetition,
    ) -> Option<ExchangeChannel> {
        let deadline = Instant::now() + self.options.confirm_deadline;
        let mut opened = Some(current);
        let mut left = unresolved.into_iter();
        while let Some(request) = left.next() {
            if request.answer.is_closed() {
                // The caller has given up the message.
                continue;
            }
            let opening = timeout_at(deadline, self.connection(opened.take())).await;
            let error = match opening {
                Ok(Ok(current)) if current.is_blocked() => {
                    opened = Some(current);
                    ExchangeError::Blocked
                }
                Ok(Ok(mut current)) => {
                    self.publish_single(&mut current, request, deadline, &mut repetition)
                        .await;
                    opened = Some(current);
                    continue;
                }
                Ok(Err(error)) => error,
                Err(_elapsed) => repetition.error.error_of_any(&self.exchange),
            };
            answer(request, Err(error.clone()));
            answer_all(left, &error);
            break;
        }
        // The broker gives the same code for a missing right to write to the exchange, and to use a
        // routing key. A message with a result shows that the account may write to the exchange.
        let error = if repetition.is_allowed {
            ExchangeError::RefusedKey(self.exchange.clone())
        } else {
            ExchangeError::NoRight(self.exchange.clone())
        };
        answer_all(repetition.refused, &error);
        self.keep(opened?).await
    }

    /// Publishes one message in a publish round of its own, and sends its caller the result, unless
    /// the account lacks a right. Which right that is, the other messages show.
    async fn publish_single(
        &self,
        current: &mut ExchangeChannel,
        request: Request,
        deadline: Instant,
        repetition: &mut Repetition,
    ) {
        let RoundEnd {
            each,
            channel_error,
        } = current.publish(&[&request.message], deadline).await;
        match (each.into_iter().next().flatten(), channel_error) {
            (Some(result), _) => {
                repetition.is_allowed = true;
                answer(request, result);
            }
            (None, Some(ChannelError::NoRight)) => repetition.refused.push(request),
            (None, Some(error)) => answer(request, Err(error.error_of_cause(&self.exchange))),
            (None, None) => answer(request, Err(current.error_without_confirm())),
        }
    }

    /// Returns the connection if it may be used further, or is blocked. Otherwise closes it.
    async fn keep(&self, current: ExchangeChannel) -> Option<ExchangeChannel> {
        if current.is_usable || current.is_blocked() {
            return Some(current);
        }
        close(&current.connection, self.options.close_deadline).await;
        None
    }

    /// Returns the open connection if it can be used, or else opens another one.
    ///
    /// A connection that the broker has blocked is kept until the resource alarm is over. RabbitMQ
    /// blocks a connection only when something is published over it. So a new connection would seem
    /// usable, and the messages published over it would get no confirm.
    async fn connection(
        &self,
        opened: Option<ExchangeChannel>,
    ) -> Result<ExchangeChannel, ExchangeError> {
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
    async fn open(&self) -> Result<ExchangeChannel, ExchangeError> {
        let unusable = |error: OpenError| ExchangeError::Unavailable(Arc::new(error));
        let connection = connect(&self.options, &self.nodes, "publish for users");
        let connection = connection.await.map_err(unusable)?;
        match timeout(self.options.connect_deadline, self.channel(&connection)).await {
            Ok(Ok(channel)) => Ok(ExchangeChannel {
                connection,
                channel,
                exchange: self.exchange.clone(),
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
}

/// Returns the messages that are to be sent. From now on, they may be published.
fn sendable(round: Vec<Request>) -> Vec<Request> {
    let mut sendable = Vec::with_capacity(round.len());
    for request in round {
        if request.is_decided.swap(true, Ordering::AcqRel) {
            // The caller gave up the message while the task was connecting.
            continue;
        }
        match request.message.too_long() {
            Some(what) => answer(request, Err(ExchangeError::TooLong(what))),
            None => sendable.push(request),
        }
    }
    sendable
}

fn answer_all(requests: impl IntoIterator<Item = Request>, error: &ExchangeError) {
    for request in requests {
        answer(request, Err(error.clone()));
    }
}

fn answer(request: Request, result: Result<(), ExchangeError>) {
    // Sending the result fails when the caller no longer waits for it.
    let _ = request.answer.send(result);
}
