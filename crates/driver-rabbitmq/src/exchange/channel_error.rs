//! Classifies the error with which the broker closes a channel on which messages were published.

use std::sync::Arc;

use lapin::protocol::AMQPSoftError;

use super::error::ExchangeError;
use crate::refusal::soft_error;

/// Why the broker has closed the channel. One message was the cause, and the broker does not say
/// which one.
#[derive(Debug, Clone)]
pub(super) enum ChannelError {
    /// The exchange does not exist.
    NoExchange,
    /// The account may not write to the exchange, or may not use the routing key of a message.
    NoRight,
    /// The broker refuses a message because of its size or its properties.
    RefusedMessage(lapin::Error),
    /// RabbitMQ closes no channel with this code because of a message.
    Other,
}

impl ChannelError {
    /// Returns `None` if the broker has not closed the channel: the connection was lost or closed.
    pub fn of(error: &lapin::Error) -> Option<Self> {
        let (code, _text) = soft_error(error)?;
        Some(match code {
            AMQPSoftError::NOTFOUND => Self::NoExchange,
            AMQPSoftError::ACCESSREFUSED => Self::NoRight,
            AMQPSoftError::CONTENTTOOLARGE | AMQPSoftError::PRECONDITIONFAILED => {
                Self::RefusedMessage(error.clone())
            }
            AMQPSoftError::NOROUTE | AMQPSoftError::NOCONSUMERS | AMQPSoftError::RESOURCELOCKED => {
                Self::Other
            }
        })
    }

    /// Returns the error of a message that was alone in its publish round, so that it is the cause.
    pub fn error_of_cause(self, exchange: &str) -> ExchangeError {
        match self {
            Self::NoExchange => ExchangeError::NoExchange(exchange.to_owned()),
            Self::NoRight => ExchangeError::NoRight(exchange.to_owned()),
            Self::RefusedMessage(error) => ExchangeError::RefusedMessage(Arc::new(error)),
            Self::Other => ExchangeError::Unknown,
        }
    }

    /// Returns the error of a message that has no result of its own, and of which it is not known
    /// whether it is the cause.
    pub fn error_of_any(&self, exchange: &str) -> ExchangeError {
        match self {
            Self::NoExchange => ExchangeError::NoExchange(exchange.to_owned()),
            Self::NoRight => ExchangeError::NoRight(exchange.to_owned()),
            Self::RefusedMessage(_) | Self::Other => ExchangeError::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use lapin::ErrorKind;
    use lapin::protocol::{AMQPError, AMQPErrorKind, AMQPHardError};

    use super::*;

    fn error(kind: impl Into<AMQPErrorKind>) -> lapin::Error {
        ErrorKind::ProtocolError(AMQPError::new(kind.into(), "the broker's text".into())).into()
    }

    fn shown(error: &ExchangeError) -> &'static str {
        match error {
            ExchangeError::NoExchange(exchange) if exchange == "orders" => "no exchange",
            ExchangeError::NoRight(exchange) if exchange == "orders" => "no right",
            ExchangeError::RefusedMessage(why) if why.to_string().contains("the broker's text") => {
                "refused message"
            }
            ExchangeError::Unknown => "unknown",
            _ => "another error",
        }
    }

    #[test]
    fn each_code_is_a_failure_of_the_exchange_or_of_one_message() {
        for (code, of_cause, of_any) in [
            (AMQPSoftError::NOTFOUND, "no exchange", "no exchange"),
            (AMQPSoftError::ACCESSREFUSED, "no right", "no right"),
            (AMQPSoftError::CONTENTTOOLARGE, "refused message", "unknown"),
            (
                AMQPSoftError::PRECONDITIONFAILED,
                "refused message",
                "unknown",
            ),
            (AMQPSoftError::NOROUTE, "unknown", "unknown"),
            (AMQPSoftError::NOCONSUMERS, "unknown", "unknown"),
            (AMQPSoftError::RESOURCELOCKED, "unknown", "unknown"),
        ] {
            let found = ChannelError::of(&error(code.clone()));
            let found = found.expect("a soft error must close a channel");
            assert_eq!(shown(&found.error_of_any("orders")), of_any, "{code}");
            assert_eq!(shown(&found.error_of_cause("orders")), of_cause, "{code}");
        }
    }

    #[test]
    fn a_lost_connection_is_no_refusal() {
        for lost in [
            error(AMQPHardError::CHANNELERROR),
            error(AMQPHardError::CONNECTIONFORCED),
            ErrorKind::MissingHeartbeatError.into(),
        ] {
            assert!(ChannelError::of(&lost).is_none(), "{lost}");
        }
    }
}
