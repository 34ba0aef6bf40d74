//! The structs for the config file. Values are still unparsed text.
//!
//! The keys of the config are defined only by these structs: `cargo xtask dump` generates
//! `schemas/config.json` and the tables of keys in `docs/CONFIG.md` from their fields. The comment
//! of a field is the description of its key in both. The attribute of a field adds what its type
//! does not say: limits, patterns, and a default. If a default is not one value, the last paragraph
//! of the comment describes it.

pub mod condition;
pub mod ingest;
pub mod newest;
pub mod route;
pub mod source;

use serde::Deserialize;

pub use ingest::Ingest;
pub use route::{Route, Worker};
pub use source::{Identity, OnConflict, Secret, Source, Topic, Word};

#[cfg(test)]
use crate::{check, connection_lifetime, log_filter, pattern, units::duration_text};
#[cfg(test)]
use hookbox_driver_postgres::Options;

/// The config of hookbox. docs/CONFIG.md explains every key.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(title = "hookbox.toml"))]
#[serde(deny_unknown_fields)]
pub struct File {
    /// A name, such as `sandbox`: 1 to 63 characters of a-z, 0-9, `-` and `_`, of which the first
    /// is a letter or digit. The name is stored in the database and is a part of the names of the
    /// broker's queues, so that a database of another environment is refused.
    #[cfg_attr(test, schemars(regex(pattern = pattern::NAME)))]
    pub environment: String,
    /// Where events and their outcomes are kept.
    pub store: Store,
    /// Where accepted events wait for their workers.
    pub broker: Broker,
    /// How the ids of events are computed. See "Identity".
    ///
    /// Default: without a key.
    pub identity: Option<Identities>,
    /// The HTTP side.
    #[serde(default)]
    pub ingest: Ingest,
    /// The defaults for all routes.
    #[serde(default)]
    pub worker: Worker,
    /// Metrics and readiness, on a listener of their own.
    ///
    /// Default: off.
    pub metrics: Option<Metrics>,
    /// The longest time that a shutdown (a drain) may take in all, at most 90 s. Messages that are
    /// not settled by then are redelivered.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(check::DRAIN)),
    ))]
    pub drain: Option<String>,
    /// How to log.
    #[serde(default)]
    pub log: Log,
    /// The endpoints (`POST /hooks/NAME`), at least one.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub source: Vec<Source>,
    /// Which events go to which handler. Events that no route selects are recorded by the route
    /// `unrouted`.
    #[serde(default)]
    pub route: Vec<Route>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// A reference to a secret with a `postgres://` URL, because such a URL may contain a password.
    /// A `sqlite:PATH` URL is written here directly.
    pub url: Url,
    /// `"private"`: declares that the network between hookbox and this server is private, so that
    /// the connection need not be encrypted and verified.
    #[cfg_attr(test, schemars(extend("enum" = ["private"])))]
    pub network: Option<String>,
    /// PostgreSQL only: the most connections to the server, 2 to 500. One further connection checks
    /// whether the server is available.
    #[cfg_attr(test, schemars(
        range(min = 2, max = 500),
        extend("default" = Options::CONNECTIONS_MAX),
    ))]
    pub connections: Option<u32>,
    /// PostgreSQL only: the longest time for which a connection is kept, whether it is used or
    /// idle, 1 s to 1 h. Each connection is kept for three quarters to all of this time. A
    /// connection pooler that is stopped or paused waits that long for its sessions.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(connection_lifetime::DEFAULT)),
    ))]
    pub connection_lifetime: Option<String>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// A reference to a secret with an `amqp://` or `amqps://` URL, because such a URL may contain
    /// a password. For a RabbitMQ cluster, the URL has all hosts with commas between them
    /// (`amqp://user:password@a:5672,b:5672,c:5672/vhost`). A `sqlite:PATH` URL is written here
    /// directly.
    pub url: Url,
    /// `"private"`: declares that the network between hookbox and this server, including its
    /// management API, is private, so that connections need not be encrypted and verified.
    #[cfg_attr(test, schemars(extend("enum" = ["private"])))]
    pub network: Option<String>,
    /// RabbitMQ only: the URL of its management API. This is either a URL without a password, such
    /// as `http://rabbitmq:15672`, which is used with the account of `url`, or a reference to a
    /// secret with a URL that contains an account of its own. If this is set, hookbox reports
    /// within five seconds a policy that limits, expires or overrides its queues, and a queue with
    /// one member in a cluster of three. Either of them turns readiness red, and prevents a start.
    /// (An ingest with a spool starts, and stores events in the spool.) If this is not set,
    /// policies and members of queues are not monitored. A start waits for the API. If the API
    /// becomes unavailable later, that is logged, its last result is kept, and nothing stops:
    /// answering 503 until the API is fixed would lose more than the monitoring saves.
    #[cfg_attr(test, schemars(with = "Option<ManagementUrl>"))]
    pub management: Option<Url>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Identities {
    /// A reference to a secret with the identity key: 64 hex digits, as `hookbox keys generate`
    /// prints them. Event ids and digests are then computed with this key, so that they cannot be
    /// guessed. Every process of a deployment needs the same key, for ever: keep the key together
    /// with the backups of the database.
    pub key: Reference,
}

/// A reference to a secret, or a URL that is written out because it contains no secret.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(untagged)]
pub enum Url {
    Literal(#[cfg_attr(test, schemars(regex(pattern = "^sqlite:")))] String),
    Reference(Reference),
}

/// The forms that the schema allows for the URL of the management API. The setting itself is read
/// into a `Url`, because that type can contain each of these forms.
#[cfg(test)]
#[derive(schemars::JsonSchema)]
#[schemars(inline, untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum ManagementUrl {
    Literal(
        #[schemars(regex(pattern = "^https?://[^@]+$"))]
        String,
    ),
    Reference(Reference),
}

/// A reference to a secret: an environment variable or a file. Never the secret itself.
#[derive(Deserialize, Clone)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(
    rename = "reference",
    extend("minProperties" = 1, "maxProperties" = 2),
))]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// The name of an environment variable.
    #[cfg_attr(test, schemars(regex(pattern = pattern::VARIABLE)))]
    pub env: Option<String>,
    /// The path of a file, relative to the config's folder. White space around the text in the file
    /// is removed.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub file: Option<String>,
    /// Only with `file`: `"any"` declares that the permissions of the file are intended. A mode of
    /// the file above 0640 then causes no warning.
    #[cfg_attr(test, schemars(extend("enum" = ["any"])))]
    pub mode: Option<String>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Address and port of `/metrics`, `/livez` and `/readyz`, such as 127.0.0.1:9464.
    pub listen: String,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// `text`; or `json`, with one object per line. The argument `--log-format` overrides this.
    #[cfg_attr(test, schemars(extend("enum" = ["text", "json"], "default" = "text")))]
    pub format: Option<String>,
    /// What to log, such as `info` or `hookbox_worker=debug,info`. The environment variable
    /// `HOOKBOX_LOG` overrides this, and the argument `--log` overrides both.
    #[cfg_attr(test, schemars(extend("default" = log_filter::DEFAULT)))]
    pub filter: Option<String>,
}
