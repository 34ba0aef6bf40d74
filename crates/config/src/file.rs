//! The structs for the config file. Values are still unparsed text.
//!
//! These structs are the one place where the keys are written: `cargo xtask dump` generates
//! `schemas/config.json` and the tables of keys in `docs/CONFIG.md` from their fields. The comment
//! of a field is its text in both. Its attribute adds what the type does not say: limits, patterns,
//! and a default. A default that is not one value is the last paragraph of the comment.

pub mod ingest;
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
    /// is a letter or digit. It is stamped into the store and into the broker's queue names, so
    /// that a database of another environment is refused.
    #[cfg_attr(test, schemars(regex(pattern = pattern::NAME)))]
    pub environment: String,
    /// Where events and their outcomes are kept.
    pub store: Store,
    /// Where accepted events wait for their workers.
    pub broker: Broker,
    /// The HTTP side.
    #[serde(default)]
    pub ingest: Ingest,
    /// Defaults of all routes.
    #[serde(default)]
    pub worker: Worker,
    /// Metrics and readiness, on a listener of their own.
    ///
    /// Default: off.
    pub metrics: Option<Metrics>,
    /// How long shutting down may take in all, at most 90 s. What is not settled by then is
    /// redelivered.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(check::DRAIN)),
    ))]
    pub drain: Option<String>,
    /// How to log.
    #[serde(default)]
    pub log: Log,
    /// Endpoints (`POST /hooks/NAME`), one at least.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub source: Vec<Source>,
    /// Which events go to which handler. What no route takes is recorded by the route `unrouted`.
    #[serde(default)]
    pub route: Vec<Route>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// A reference to a `postgres://` URL, because such a URL may hold a password; or, written out,
    /// `sqlite:PATH`.
    pub url: Url,
    /// `"private"`: declares that the network between hookbox and this server is private, so that
    /// the connection need not be encrypted and verified.
    #[cfg_attr(test, schemars(extend("enum" = ["private"])))]
    pub network: Option<String>,
    /// PostgreSQL only: connections at most, 2 to 500, besides one that checks whether the server
    /// is available.
    #[cfg_attr(test, schemars(
        range(min = 2, max = 500),
        extend("default" = Options::CONNECTIONS_MAX),
    ))]
    pub connections: Option<u32>,
    /// PostgreSQL only: how long a connection is kept at most, used or idle, 1 s to 1 h; each gets
    /// three quarters to all of it. A pooler that is stopped or paused waits so long for its
    /// sessions.
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
    /// A reference to an `amqp://` or `amqps://` URL, because such a URL may hold a password; of a
    /// RabbitMQ cluster, all hosts with commas between them
    /// (`amqp://user:password@a:5672,b:5672,c:5672/vhost`). Or, written out, `sqlite:PATH`.
    pub url: Url,
    /// `"private"`: declares that the network between hookbox and this server, including its
    /// management API, is private, so that connections need not be encrypted and verified.
    #[cfg_attr(test, schemars(extend("enum" = ["private"])))]
    pub network: Option<String>,
    /// RabbitMQ only: its management API: a URL without a password, as `http://rabbitmq:15672`, or
    /// a reference where the URL holds an account of its own (else that of `url` is used). With
    /// it, a policy that limits, expires or overrides hookbox's queues, and a queue with one
    /// member in a cluster of three, is reported within five seconds, turns readiness red, and
    /// refuses a start; without it, these are not monitored. A start waits for the API; when it
    /// becomes unavailable later that is logged, its last result is kept, and nothing stops
    /// because of it: answering 503 until it is fixed would lose more than the monitoring saves.
    #[cfg_attr(test, schemars(with = "Option<ManagementUrl>"))]
    pub management: Option<Url>,
}

/// A reference, or a URL that is written out because it holds no secret.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(untagged)]
pub enum Url {
    Literal(#[cfg_attr(test, schemars(regex(pattern = "^sqlite:")))] String),
    Reference(Reference),
}

/// What the schema allows for the URL of the management API, which is read as a `Url`.
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
    /// A file, relative to the config's folder; white space around its text is dropped.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub file: Option<String>,
    /// Beside `file`: `"any"`, where it is known and accepted who can read the file, so that a mode
    /// over 0640 is not warned of.
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
    /// `text`, or `json`, one object a line; `--log-format` goes before it.
    #[cfg_attr(test, schemars(extend("enum" = ["text", "json"], "default" = "text")))]
    pub format: Option<String>,
    /// What to log, as `info` or `hookbox_worker=debug,info`; `--log` and then the variable
    /// `HOOKBOX_LOG` go before it.
    #[cfg_attr(test, schemars(extend("default" = log_filter::DEFAULT)))]
    pub filter: Option<String>,
}
