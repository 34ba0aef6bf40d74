//! Why the settings of `publish` cannot be used.

use hookbox_driver::InvalidTargetName;

use crate::call_limits::InvalidLimits;

/// Why the settings of `publish` cannot be used. The text says what to change, and contains no
/// secret.
#[derive(Debug, thiserror::Error)]
pub enum InvalidPublish {
    /// The settings name no RabbitMQ, and the broker of hookbox is not a RabbitMQ.
    #[error(
        "url: the broker of this config is a SQLite file; name the RabbitMQ to publish to, with \
         url = {{ env = \"NAME\" }} or {{ file = \"PATH\" }}"
    )]
    NoUrl,
    /// The URL cannot be read or used.
    #[error("url: {0}")]
    Url(String),
    /// The connection would lead over a network that may be shared, without encryption or without a
    /// check of the server's certificate.
    #[error(
        "url: RabbitMQ is on another machine, so the connection to it must be encrypted and must \
         verify the server: use amqps://, or set network = \"private\" if the network to that \
         machine is private"
    )]
    InTheClear,
    /// The name of the exchange cannot be used.
    #[error(
        "exchange: name an exchange of your own, of 1 to 255 bytes; the default exchange leads to \
         every queue, also to those of hookbox"
    )]
    Exchange,
    /// The media type cannot be sent.
    #[error("content_type: must have 1 to 255 bytes")]
    ContentType,
    /// A header cannot be sent.
    #[error("headers.{name:?}: {why}")]
    Header {
        /// The name of the header.
        name: String,
        /// Why the header cannot be sent.
        why: &'static str,
    },
    /// There are too many headers.
    #[error("headers: {found} are set, and at most {max} are allowed")]
    HeaderCount {
        /// The number of headers.
        found: usize,
        /// The highest number of headers that is allowed.
        max: usize,
    },
    /// The limits cannot be used.
    #[error(transparent)]
    Limits(#[from] InvalidLimits),
    /// The names of broker and exchange are too long together.
    #[error("exchange: broker and exchange together are the name of the target; {0}")]
    Target(#[from] InvalidTargetName),
}
