//! The config: one TOML file, which is read once, before anything else is opened or changed.
//!
//! No other crate reads settings from files or the environment. The structure is checked against
//! `schemas/config.json`, and the meaning by `check`. All mistakes are reported at once, each with
//! its place. Relative paths in the file are relative to the folder of the file.

mod check;
mod connection_lifetime;
mod difference;
mod file;
mod identity;
mod key;
pub mod key_file;
mod log_filter;
mod nearest;
mod needs;
pub mod options;
mod parts;
mod peers;
mod place;
pub mod regular_file;
mod route;
mod same_key;
mod scheme;
mod secret;
mod source;
mod spool;
mod structure;
mod tls;
mod units;
mod urls;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hookbox_driver::{Clock as _, SystemClock};
use hookbox_event::{EnvironmentName, RouteName, Timestamp};
use secrecy::SecretString;

pub use difference::Differences;
pub use log_filter::log_filter;
pub use needs::Needs;
pub use parts::{BrokenParts, Part};
pub use place::Mistakes;
pub use route::RouteConfig;
pub use secret::ENVIRONMENT;
pub use source::SourceConfig;
pub use spool::SpoolConfig;
pub use units::duration;

/// The JSON Schema of the config file.
pub const SCHEMA: &str = include_str!("../../../schemas/config.json");

/// The name of the route for topics that no other route selects. This route always exists.
pub const UNROUTED: &str = "unrouted";

/// The effective config: every value is valid, and every default is filled in.
pub struct Config {
    /// The file that the config was read from.
    pub path: PathBuf,
    /// The text of the file, which contains no secrets.
    pub text: String,
    /// Which secrets were read. A command reads only those that it needs.
    pub needs: Needs,
    /// The name of the environment.
    pub environment: EnvironmentName,
    /// The URL of the store.
    pub store: StoreUrl,
    /// What the config declares about the network between hookbox and the store.
    pub store_network: Network,
    /// The most connections to the store.
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
    /// The address at which metrics and readiness are shown; nowhere, if `None`.
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
    /// Warnings about settings that are valid but probably not intended, each with its place.
    pub warnings: Vec<String>,
}

/// What the config declares about the network between hookbox and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The config declares nothing: the connection must be encrypted, and the server verified.
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

/// The settings for receiving webhooks.
pub struct IngestConfig {
    /// The address and port to listen at.
    pub listen: SocketAddr,
    /// The PEM files of the certificate chain and its key, if the listener uses TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The proxies in front of hookbox that terminate TLS, as written in the config.
    pub trusted_proxies: Vec<String>,
    /// The networks from which plain HTTP is accepted, as written in the config.
    pub plain_http_from: Vec<String>,
    /// The parsed `trusted_proxies` and `plain_http_from`.
    pub peers: hookbox_ingest::Peers,
    /// The largest body, in bytes.
    pub body_max: usize,
    /// The most bytes of bodies in memory at once.
    pub bodies_max: usize,
    /// The longest time that a connection may be idle.
    pub idle: Duration,
    /// The most connections at once.
    pub connections_max: usize,
    /// The most connections at once from one address.
    pub connections_per_address_max: usize,
    /// The most accepted requests that wait for the broker at once.
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
    /// Reads and checks a file, and resolves every secret.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        Self::load_for(path, Needs::ALL)
    }

    /// Reads and checks a file, and resolves only the secrets in `needs`.
    pub fn load_for(path: &Path, needs: Needs) -> Result<Self, Mistakes> {
        Self::parse_for(path, &read(path)?, ENVIRONMENT, needs, SystemClock.now())
    }

    /// Reads and checks a file for a running service; see [`Config::parse_parts`].
    pub fn load_parts(path: &Path, needs: Needs) -> Result<(Self, BrokenParts), Mistakes> {
        Self::parse_parts(path, &read(path)?, needs, SystemClock.now())
    }

    /// Checks the text of a config file. `env` returns environment variables.
    pub fn parse(
        path: &Path,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
        now: Timestamp,
    ) -> Result<Self, Mistakes> {
        Self::parse_for(path, text, env, Needs::ALL, now)
    }

    /// Checks the text of a config file for a command that needs only some of the secrets.
    pub fn parse_for(
        path: &Path,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
        needs: Needs,
        now: Timestamp,
    ) -> Result<Self, Mistakes> {
        let (file, places) = structure::read(path, text)?;
        let config = check::check(path, &file, places, env, needs, now)?;
        let text = text.to_owned();
        Ok(Self { text, ..config })
    }

    /// Checks the text of a config file for a running service, and resolves the secrets that it
    /// uses. A part that cannot be used does not invalidate the others; it is returned beside the
    /// config.
    pub fn parse_parts(
        path: &Path,
        text: &str,
        needs: Needs,
        now: Timestamp,
    ) -> Result<(Self, BrokenParts), Mistakes> {
        let (file, places) = structure::read(path, text)?;
        let (config, broken) = check::check_parts(path, &file, places, ENVIRONMENT, needs, now)?;
        let text = text.to_owned();
        Ok((Self { text, ..config }, broken))
    }

    /// Returns the names of all routes.
    pub fn route_names(&self) -> Vec<RouteName> {
        self.routes.iter().map(|route| route.name.clone()).collect()
    }

    /// Returns whether the store and the broker are the same SQLite file, even if their paths
    /// differ.
    pub fn is_one_file(&self) -> bool {
        match (&self.store, &self.broker) {
            (StoreUrl::Sqlite(store), BrokerUrl::Sqlite(broker)) => place(store) == place(broker),
            (StoreUrl::Postgres(_) | StoreUrl::NotResolved, _)
            | (_, BrokerUrl::Amqp(_) | BrokerUrl::NotResolved) => false,
        }
    }
}

fn read(path: &Path) -> Result<String, Mistakes> {
    std::fs::read_to_string(path).map_err(|error| {
        let advice = "write a config (see docs/CONFIG.md), name another file with --config, or try \
                      `hookbox dev`, which needs no config";
        let what = format!("the config file cannot be read ({error}); {advice}");
        Mistakes::one(path, what)
    })
}

/// Returns the canonical path of a file, even if the file does not exist yet. Only then can two
/// spellings of a path be compared.
fn place(path: &Path) -> PathBuf {
    if let Ok(place) = path.canonicalize() {
        return place;
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return path.to_owned();
    };
    // The parent of a bare file name is an empty path, which stands for the current folder.
    let folder = Path::new(".").join(folder);
    folder.canonicalize().unwrap_or(folder).join(name)
}

#[cfg(test)]
mod tests;
