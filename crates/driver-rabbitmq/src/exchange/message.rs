//! A message to an exchange that belongs to the user.

use std::fmt;

use bytes::Bytes;

/// A message to an exchange. `Debug` does not show the body.
#[derive(Clone)]
pub struct ExchangeMessage {
    /// The routing key, at most 255 bytes.
    pub routing_key: String,
    /// The id by which a consumer recognises a message that was published more than once, at most
    /// 255 bytes.
    pub message_id: String,
    /// The media type of the body.
    pub content_type: String,
    /// The AMQP headers of the message, as names with values.
    pub headers: Vec<(String, HeaderValue)>,
    /// The body of the message, byte for byte.
    pub body: Bytes,
}

/// The value of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// A text.
    Text(String),
    /// A number.
    Number(u32),
}

impl fmt::Debug for ExchangeMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeMessage")
            .field("message_id", &self.message_id)
            .finish_non_exhaustive()
    }
}
