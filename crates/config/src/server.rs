//! The URLs of the store and of the broker, and what the config declares about the network between
//! hookbox and them.

use std::path::PathBuf;

use secrecy::SecretString;

/// What the config declares about the network between hookbox and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The config declares nothing about the network, so the connection must be encrypted, and the
    /// server verified.
    Any,
    /// The network is private: the config declares that no strangers share it.
    Private,
}

/// The URL of the store.
pub enum StoreUrl {
    /// PostgreSQL. The URL may contain a password.
    Postgres(SecretString),
    /// A SQLite file.
    Sqlite(PathBuf),
    /// The URL is a secret that was not read, because the command does not use the store.
    NotResolved,
}

/// The URL of the broker.
pub enum BrokerUrl {
    /// RabbitMQ. The URL may contain a password.
    Amqp(SecretString),
    /// A SQLite file.
    Sqlite(PathBuf),
    /// The URL is a secret that was not read, because the command does not use the broker.
    NotResolved,
}
