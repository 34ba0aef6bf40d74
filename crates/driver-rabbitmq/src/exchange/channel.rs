//! A channel to an exchange that belongs to the user, with its own connection. It publishes one
//! publish round after the other.

use lapin::options::BasicPublishOptions;
use lapin::{Channel, Connection, PublisherConfirm};
use tokio::time::{Instant, timeout_at};

use super::channel_error::ChannelError;
use super::error::ExchangeError;
use super::message::ExchangeMessage;
use super::round::{Confirm, RoundResults, results};

/// A connection, and the channel on which the task publishes.
pub(super) struct ExchangeChannel {
    pub connection: Connection,
    pub channel: Channel,
    pub exchange: String,
    /// Whether another publish round may use the channel.
    pub is_usable: bool,
}

/// What is known at the end of a publish round.
pub(super) struct RoundEnd {
    /// The results of the messages in their order; `None` where it is not known whether a message
    /// was published.
    pub each: Vec<Option<Result<(), ExchangeError>>>,
    /// Why the broker has closed the channel, if it has.
    pub channel_error: Option<ChannelError>,
}

impl ExchangeChannel {
    /// Returns whether the broker has a resource alarm, so that it accepts no messages.
    pub fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Returns the error of a message whose confirm has not arrived, where the broker has not
    /// closed the channel.
    pub fn error_without_confirm(&self) -> ExchangeError {
        if self.is_blocked() {
            ExchangeError::Blocked
        } else {
            ExchangeError::Unknown
        }
    }

    /// Publishes the messages of one publish round, and waits for their confirms.
    pub async fn publish(&mut self, round: &[&ExchangeMessage], deadline: Instant) -> RoundEnd {
        let (pending, unsent) = self.send_all(round, deadline).await;
        let mut confirms = Vec::with_capacity(round.len());
        let mut channel_error = None;
        for confirm in pending {
            confirms.push(match timeout_at(deadline, confirm).await {
                Ok(Ok(confirm)) => Confirm::Arrived(confirm),
                Ok(Err(error)) => {
                    channel_error = channel_error.or_else(|| ChannelError::of(&error));
                    Confirm::Lost
                }
                Err(_elapsed) => Confirm::Late,
            });
        }
        confirms.extend(unsent);
        let ids: Vec<String> = round.iter().map(|it| it.message_id.clone()).collect();
        let RoundResults {
            each,
            is_certain,
            is_usable,
        } = results(&ids, confirms);
        // After a rejection, the channel is not used further: RabbitMQ remembers for each channel
        // that a queue was full (H16).
        let is_rejected =
            |result: &Option<Result<(), _>>| matches!(result, Some(Err(ExchangeError::Rejected)));
        self.is_usable = is_usable && !each.iter().any(is_rejected);
        RoundEnd {
            each,
            // If the results are not certain, a message may have been confirmed, and must not be
            // published again.
            channel_error: channel_error.filter(|_| is_certain),
        }
    }

    /// Sends the messages of one publish round, and stops at the first one that cannot be sent.
    /// Also returns what became of the confirms of that message and of those behind it.
    async fn send_all(
        &self,
        round: &[&ExchangeMessage],
        deadline: Instant,
    ) -> (Vec<PublisherConfirm>, Vec<Confirm>) {
        let mut pending = Vec::with_capacity(round.len());
        let mut unsent = Vec::new();
        for message in round {
            let options = BasicPublishOptions {
                mandatory: true,
                immediate: false,
            };
            let sent = self.channel.basic_publish(
                self.exchange.as_str().into(),
                message.routing_key.as_str().into(),
                options,
                &message.body,
                message.properties(),
            );
            match timeout_at(deadline, sent).await {
                Ok(Ok(confirm)) => {
                    pending.push(confirm);
                    continue;
                }
                Ok(Err(_)) => unsent.push(Confirm::Lost),
                // The last bytes of the message may have been sent.
                Err(_elapsed) => unsent.push(Confirm::Late),
            }
            break;
        }
        unsent.resize_with(round.len() - pending.len(), || Confirm::Lost);
        (pending, unsent)
    }
}
