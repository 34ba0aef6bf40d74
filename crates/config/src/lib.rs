//! The config: one TOML file, which is read once, before anything else is opened or changed.
//!
//! No other crate reads settings from files or the environment. The structure is checked against
//! `schemas/config.json`, and the meaning by `check`. All mistakes are reported at once, each with
//! its place. Relative paths in the file are relative to the folder of the file.

mod check;
mod condition;
mod config;
mod connection_lifetime;
mod difference;
mod file;
mod handler_kinds;
mod handler_place;
mod handler_settings;
mod identity;
mod identity_key;
mod key;
pub mod key_file;
mod load;
mod log_filter;
mod nearest;
mod needs;
mod newest;
pub mod options;
mod parts;
mod pattern;
mod peers;
mod place;
pub mod regular_file;
mod route;
mod same_key;
mod schema;
mod scheme;
mod secret;
mod server;
mod source;
mod spool;
mod sqlite_path;
mod structure;
mod tls;
mod units;
mod unmatched;
mod urls;
mod wrong_settings;

pub use config::{Config, IngestConfig, LogConfig};
pub use difference::Differences;
pub use file::Reference as SecretReference;
pub use handler_kinds::{BUILT_IN, HandlerConfig, HandlerKind, HandlerKinds, SettingsType};
pub use handler_settings::HandlerSettings;
pub use identity_key::IdentityConfig;
pub use log_filter::{DEFAULT as LOG_FILTER, log_filter};
pub use needs::Needs;
pub use parts::{BrokenParts, Part};
pub use place::Mistakes;
pub use route::{RouteConfig, UNROUTED};
pub use schema::SCHEMA;
pub use secret::{ENVIRONMENT, read_secret};
pub use server::{BrokerUrl, Network, StoreUrl};
pub use source::SourceConfig;
pub use spool::SpoolConfig;
pub use units::duration;
pub use wrong_settings::WrongSettings;

#[cfg(test)]
mod tests;
