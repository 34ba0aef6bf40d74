//! The config: one TOML file, read once, before anything else is opened or changed.
//!
//! Only this module reads files and the environment for settings. Structure is checked against
//! `schemas/config.json`, meaning by `check`; all mistakes are reported at once, each with its
//! place. Relative paths in the file are relative to the file.

mod check;
mod connection_lifetime;
mod difference;
mod file;
mod identity;
mod key;
pub(crate) mod key_file;
mod nearest;
mod needs;
mod parts;
mod peers;
mod place;
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

use hookbox_driver::Clock as _;
use hookbox_event::{EnvironmentName, RouteName, Timestamp};
use secrecy::SecretString;

use crate::clock::SystemClock;
use crate::command::print;

pub use difference::Differences;
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

/// The route that takes what no other route takes. It always exists.
pub const UNROUTED: &str = "unrouted";

/// The effective config: every value valid, every default filled in.
pub struct Config {
    /// The file it came from.
    pub path: PathBuf,
    /// Its text, which holds no secrets.
    pub text: String,
    /// Which secrets were resolved.
    pub needs: Needs,
    /// The environment's name.
    pub environment: EnvironmentName,
    /// The store.
    pub store: StoreUrl,
    /// The network between hookbox and the store.
    pub store_network: Network,
    /// Connections to the store at most.
    pub store_connections: u32,
    /// How long a connection to the store is kept at most.
    pub store_connection_lifetime: Duration,
    /// The broker.
    pub broker: BrokerUrl,
    /// The network between hookbox and the broker with its management API.
    pub broker_network: Network,
    /// RabbitMQ's management API; the URL may hold a password.
    pub management: Option<SecretString>,
    /// The HTTP side.
    pub ingest: IngestConfig,
    /// Where metrics and readiness are shown, where they are.
    pub metrics: Option<SocketAddr>,
    /// How long shutting down may take.
    pub drain: Duration,
    /// For how much of it, at its beginning, readiness is red while requests are still taken.
    pub drain_lead: Duration,
    /// How to log.
    pub log: LogConfig,
    /// The endpoints.
    pub sources: Vec<SourceConfig>,
    /// The routes, the one for everything else last.
    pub routes: Vec<RouteConfig>,
    /// Settings that can be used and are probably not intended, each with its place.
    pub warnings: Vec<String>,
}

/// What the config declares about the network between hookbox and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Nothing: the connection must be encrypted, and the server verified.
    Any,
    /// It is private: the config declares that it is shared with no others.
    Private,
}

/// Where the store is.
pub enum StoreUrl {
    /// PostgreSQL; the URL may hold a password.
    Postgres(SecretString),
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A reference that is not resolved, because this command does not need it.
    NotResolved,
}

/// Where the broker is.
pub enum BrokerUrl {
    /// RabbitMQ; the URL may hold a password.
    Amqp(SecretString),
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A reference that is not resolved, because this command does not need it.
    NotResolved,
}

/// The HTTP side.
pub struct IngestConfig {
    /// Address and port.
    pub listen: SocketAddr,
    /// Certificate chain and key, as PEM files.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Proxies in front that do the TLS, as they are written.
    pub trusted_proxies: Vec<String>,
    /// From where plain HTTP is accepted, as it is written.
    pub plain_http_from: Vec<String>,
    /// Both of them.
    pub peers: hookbox_ingest::Peers,
    /// Largest body in bytes.
    pub body_max: usize,
    /// Bytes of bodies in memory at once.
    pub bodies_max: usize,
    /// How long a connection may be idle.
    pub idle: Duration,
    /// Connections at once.
    pub connections_max: usize,
    /// Connections at once from one address.
    pub connections_per_address_max: usize,
    /// Accepted requests that wait for the broker at once.
    pub waiting_max: usize,
    /// Where events are spooled that the broker cannot take now, if they are.
    pub spool: Option<SpoolConfig>,
}

/// How to log.
#[derive(Debug, Clone, Default)]
pub struct LogConfig {
    /// JSON instead of text.
    pub json: bool,
    /// The log filter, in the syntax of `tracing_subscriber::EnvFilter`: `HOOKBOX_LOG`, else the
    /// file's.
    pub filter: Option<String>,
}

impl Config {
    /// Reads and checks a file, and resolves every secret.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        Self::load_for(path, Needs::ALL)
    }

    /// Reads and checks a file, and resolves the secrets that are needed.
    pub fn load_for(path: &Path, needs: Needs) -> Result<Self, Mistakes> {
        Self::parse_for(path, &read(path)?, ENVIRONMENT, needs, SystemClock.now())
    }

    /// Reads a file for a running service, see [`Config::parse_parts`].
    pub fn load_parts(path: &Path, needs: Needs) -> Result<(Self, BrokenParts), Mistakes> {
        Self::parse_parts(path, &read(path)?, needs, SystemClock.now())
    }

    /// Checks the text of a file; `env` is the environment.
    pub fn parse(
        path: &Path,
        text: &str,
        env: &dyn Fn(&str) -> Option<String>,
        now: Timestamp,
    ) -> Result<Self, Mistakes> {
        Self::parse_for(path, text, env, Needs::ALL, now)
    }

    /// The same for a command that needs only some secrets.
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

    /// Checks the text of a file for a running service, and resolves what it uses. A part that
    /// cannot be used does not invalidate the rest, and is returned beside the config.
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

    /// All routes by name.
    pub fn route_names(&self) -> Vec<RouteName> {
        self.routes.iter().map(|route| route.name.clone()).collect()
    }

    /// Whether the store and the broker are one SQLite file, however it is written.
    pub fn is_one_file(&self) -> bool {
        match (&self.store, &self.broker) {
            (StoreUrl::Sqlite(store), BrokerUrl::Sqlite(broker)) => place(store) == place(broker),
            (StoreUrl::Postgres(_) | StoreUrl::NotResolved, _)
            | (_, BrokerUrl::Amqp(_) | BrokerUrl::NotResolved) => false,
        }
    }

    /// Where a command finds the config: `--config`, else `HOOKBOX_CONFIG`, else
    /// `./hookbox.toml`, else the one that `hookbox dev` made here.
    pub fn find(given: Option<&Path>) -> PathBuf {
        if let Some(path) = given {
            return path.to_owned();
        }
        if let Some(path) = std::env::var_os("HOOKBOX_CONFIG") {
            return path.into();
        }
        let (usual, dev) = (
            Path::new("hookbox.toml"),
            Path::new(".hookbox-dev/hookbox.toml"),
        );
        if !usual.exists() && dev.exists() {
            print::note(&format!("using {}, made by `hookbox dev`", dev.display()));
            return dev.to_owned();
        }
        usual.to_owned()
    }
}

fn read(path: &Path) -> Result<String, Mistakes> {
    std::fs::read_to_string(path).map_err(|error| {
        let advice = "write one (see docs/CONFIG.md), name another with --config, or try \
                      `hookbox dev`, which needs none";
        let what = format!("the config file cannot be read ({error}); {advice}");
        Mistakes::one(path, what)
    })
}

/// The canonical place of a file, whether it exists or not: its folder may be written in several
/// ways.
fn place(path: &Path) -> PathBuf {
    if let Ok(place) = path.canonicalize() {
        return place;
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return path.to_owned();
    };
    // The folder of a bare name is empty: that is the folder of the process.
    let folder = Path::new(".").join(folder);
    folder.canonicalize().unwrap_or(folder).join(name)
}

#[cfg(test)]
mod tests;
