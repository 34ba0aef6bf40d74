//! The reasons why a publisher ends.

/// Why a publisher ended. The connection is closed each time: after an error of one channel, lapin
/// still sends frames for that channel, for which RabbitMQ closes the whole connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PublisherError {
    #[error("a publishing channel failed")]
    Channel(#[source] lapin::Error),
    #[error("a batch was not confirmed in time")]
    Late,
    #[error("the queue {0:?} does not exist any more")]
    Unroutable(String),
    #[error("the channel is not in confirm mode")]
    NotConfirming,
    #[error("no replacement channel was opened in time")]
    NotRenewed,
}
