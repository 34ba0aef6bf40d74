//! What RabbitMQ refuses, by the reply codes of AMQP 0-9-1.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};

/// Whether this account may not do it.
pub(crate) fn is_refused(error: &lapin::Error) -> bool {
    matches!(soft_error(error), Some((AMQPSoftError::ACCESSREFUSED, _)))
}

/// The broker's own words for a channel error.
pub(crate) fn soft_error(error: &lapin::Error) -> Option<(AMQPSoftError, String)> {
    let ErrorKind::ProtocolError(error) = error.kind() else {
        return None;
    };
    match error.kind() {
        AMQPErrorKind::Soft(kind) => Some((kind.clone(), error.get_message().to_string())),
        AMQPErrorKind::Hard(_) => None,
    }
}
