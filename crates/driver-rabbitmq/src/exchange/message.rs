//! A message to an exchange that belongs to the user.

use std::fmt;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};

/// The largest length in bytes of a routing key, a message id and a content type. In AMQP 0-9-1
/// they are short strings.
const SHORT_MAX: usize = 255;

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

impl ExchangeMessage {
    pub(super) fn properties(&self) -> BasicProperties {
        let mut headers = FieldTable::default();
        for (name, value) in &self.headers {
            let value = match value {
                HeaderValue::Text(text) => AMQPValue::LongString(text.as_str().into()),
                HeaderValue::Number(number) => AMQPValue::LongLongInt(i64::from(*number)),
            };
            headers.insert(name.as_str().into(), value);
        }
        BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type(self.content_type.as_str().into())
            .with_message_id(self.message_id.as_str().into())
            .with_headers(headers)
    }

    /// Returns which text of the message is too long for AMQP, if any. With such a text, lapin
    /// would fail in the middle of sending the message.
    pub(super) fn too_long(&self) -> Option<&'static str> {
        let texts = [
            ("routing key", &self.routing_key),
            ("message id", &self.message_id),
            ("content type", &self.content_type),
        ];
        let is_too_long = |(_, text): &(&str, &String)| text.len() > SHORT_MAX;
        let headers = self
            .headers
            .iter()
            .map(|(name, _)| ("name of a header", name));
        let mut texts = texts.into_iter().chain(headers);
        texts.find(is_too_long).map(|(what, _)| what)
    }
}

impl fmt::Debug for ExchangeMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExchangeMessage")
            .field("message_id", &self.message_id)
            .finish_non_exhaustive()
    }
}
