//! The effective config, as the rest of the program reads it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hookbox_event::{EnvironmentName, RouteName};
use secrecy::SecretString;

use super::handler_kinds::HandlerKinds;
use super::identity_key::IdentityConfig;
use super::needs::Needs;
use super::route::RouteConfig;
use super::server::{BrokerUrl, Network, StoreUrl};
use super::source::SourceConfig;
use super::spool::SpoolConfig;
use super::sqlite_path;

/// The effective config: every value is valid, and every default is filled in.
pub struct Config {
    /// The file that the config was read from.
    pub path: PathBuf,
    /// The text of the file, which contains no secrets.
    pub text: String,
    /// Which secrets were read. A command reads only those that it needs.
    pub needs: Needs,
    /// The kinds of handlers that the program has.
    pub kinds: HandlerKinds,
    /// The name of the environment.
    pub environment: EnvironmentName,
    /// How the ids of events are computed.
    pub identity: IdentityConfig,
    /// The URL of the store.
    pub store: StoreUrl,
    /// What the config declares about the network between hookbox and the store.
    pub store_network: Network,
    /// How many connections to the store may be open at once.
    pub store_connections: u32,
    /// The longest time for which a connection to the store is kept.
    pub store_connection_lifetime: Duration,
    /// The URL of the broker.
    pub broker: BrokerUrl,
    /// What the config declares about the network between hookbox and the broker, including its
    /// management API.
    pub broker_network: Network,
    /// The URL of RabbitMQ's management API. It may contain a password.
    pub management: Option<SecretString>,
    /// The settings for receiving webhooks.
    pub ingest: IngestConfig,
    /// The address of the listener for metrics and readiness; `None` if there is no such listener.
    pub metrics: Option<SocketAddr>,
    /// The longest time that shutting down may take.
    pub drain: Duration,
    /// The first part of the drain, during which readiness reports 503 while requests are still
    /// accepted.
    pub drain_lead: Duration,
    /// The settings of the log.
    pub log: LogConfig,
    /// The configured sources.
    pub sources: Vec<SourceConfig>,
    /// The routes. The route for topics that no other route selects is the last one.
    pub routes: Vec<RouteConfig>,
    /// Warnings about settings that are valid but probably not intended, each with its place in the
    /// file.
    pub warnings: Vec<String>,
}

/// The settings for receiving webhooks.
pub struct IngestConfig {
    /// The address and port to listen at.
    pub listen: SocketAddr,
    /// The PEM files of the certificate chain and its key, if the listener uses TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The proxies in front of hookbox that terminate TLS, as written in the config.
    pub trusted_proxies: Vec<String>,
    /// The networks from which plain HTTP is allowed, as written in the config.
    pub plain_http_from: Vec<String>,
    /// The parsed `trusted_proxies` and `plain_http_from`.
    pub peers: hookbox_ingest::Peers,
    /// The largest body, in bytes.
    pub body_max: usize,
    /// How many bytes all bodies in memory may have together.
    pub bodies_max: usize,
    /// The longest time for which a connection may be idle before ingest closes it.
    pub idle: Duration,
    /// How many connections all clients together may have open at once.
    pub connections_max: usize,
    /// How many connections one address may have open at once.
    pub connections_per_address_max: usize,
    /// How many accepted requests may wait for the broker at once.
    pub waiting_max: usize,
    /// The spool for events that the broker cannot take now, if one is configured.
    pub spool: Option<SpoolConfig>,
}

/// The settings of the log.
#[derive(Debug, Clone, Default)]
pub struct LogConfig {
    /// Whether to log JSON instead of text.
    pub json: bool,
    /// The log filter in the syntax of `tracing_subscriber::EnvFilter`, from `HOOKBOX_LOG` if it is
    /// set, else from the config.
    pub filter: Option<String>,
}

impl Config {
    /// Returns the names of all routes.
    pub fn route_names(&self) -> Vec<RouteName> {
        self.routes.iter().map(|route| route.name.clone()).collect()
    }

    /// Returns whether the store and the broker are the same SQLite file, even if their paths
    /// differ.
    pub fn is_one_file(&self) -> bool {
        match (&self.store, &self.broker) {
            (StoreUrl::Sqlite(store), BrokerUrl::Sqlite(broker)) => {
                sqlite_path::is_same(store, broker)
            }
            (StoreUrl::Postgres(_) | StoreUrl::NotResolved, _)
            | (_, BrokerUrl::Amqp(_) | BrokerUrl::NotResolved) => false,
        }
    }
}
