//! The reasons why the broker has not confirmed a message to an exchange.

use std::error::Error;
use std::sync::Arc;

use hookbox_driver::OpenError;

/// Why a message was not confirmed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ExchangeError {
    /// No queue is bound for the routing key, so the broker returned the message.
    #[error("no queue got the message: none is bound to the exchange for this routing key")]
    Unroutable,
    /// The broker has rejected the message, for example because a queue is full.
    #[error(
        "the broker rejected the message: a queue that it would go to is full or not available"
    )]
    Rejected,
    /// The broker has a resource alarm, so it accepts no messages. A message that was sent when the
    /// alarm began may be published when the alarm ends.
    #[error("the broker has a resource alarm and accepts nothing")]
    Blocked,
    /// The exchange does not exist.
    #[error("there is no exchange {0:?}; declare it, because hookbox does not")]
    NoExchange(String),
    /// The account may not publish to the exchange, or may not use the routing key. The broker does
    /// not say which, and no other message of the same publish round shows that the account may
    /// publish to the exchange.
    #[error(
        "the account has no right to write to the exchange {0:?}, or to use this routing key; \
         grant it with `rabbitmqctl set_permissions`, whose second pattern is for writing, or with \
         `rabbitmqctl set_topic_permissions`"
    )]
    NoRight(String),
    /// The account may publish to the exchange, but may not use the routing key of this message.
    #[error(
        "the account has no right to use this routing key on the exchange {0:?}; grant it with \
         `rabbitmqctl set_topic_permissions`, whose first pattern is for writing"
    )]
    RefusedKey(String),
    /// The broker refuses this message, for example because it is larger than the broker's
    /// `max_message_size`.
    #[error("the broker refuses the message because of its size or its properties")]
    RefusedMessage(#[source] Arc<dyn Error + Send + Sync>),
    /// The broker cannot be reached, or refuses the connection.
    #[error("the broker cannot be used")]
    Unavailable(#[source] Arc<OpenError>),
    /// The message was not published, because the broker could not be used before the message's
    /// deadline.
    #[error("the message was not published: the broker could not be used in time")]
    Late,
    /// It is not known whether the message was published: the connection was lost, or the confirm
    /// did not come in time.
    #[error("the broker did not confirm the message in time; it may have been published")]
    Unknown,
    /// The message cannot be sent, because one of its texts, such as the routing key, is longer
    /// than AMQP allows.
    #[error("the {0} is longer than the 255 bytes that AMQP 0-9-1 allows")]
    TooLong(&'static str),
    /// The publisher is closed.
    #[error("the publisher is closed")]
    Closed,
}
