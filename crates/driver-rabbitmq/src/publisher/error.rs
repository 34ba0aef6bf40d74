//! The reasons why a publisher ends.

/// Why a publisher ended. For every reason, the whole connection is closed and not only the
/// channel: after an error of a channel, lapin still sends frames for that channel, and RabbitMQ
/// then closes the connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublisherError {
    #[error("a publishing channel failed")]
    Channel(#[source] lapin::Error),
    /// A confirm did not arrive in time. A publisher ends with this reason only if the broker has
    /// answered no other publish meanwhile.
    #[error("a batch was not confirmed in time")]
    Late,
    /// The client library did not send a publish in time.
    #[error("a batch was not sent in time")]
    Unsent,
    #[error("the queue {0:?} does not exist any more")]
    Unroutable(String),
    #[error("the channel is not in confirm mode")]
    NotConfirming,
    #[error("no replacement channel was opened in time")]
    NotRenewed,
}
