//! The options with which the drivers connect to the servers that the config names.

use secrecy::{ExposeSecret as _, SecretString};

use super::config::Config;
use super::server::StoreUrl;

/// Returns the options for connecting to the RabbitMQ that the config names.
pub fn rabbit(config: &Config, url: &SecretString) -> hookbox_driver_rabbitmq::Options {
    let (environment, routes) = (config.environment.clone(), config.route_names());
    let mut options =
        hookbox_driver_rabbitmq::Options::new(url.expose_secret(), environment, routes);
    options.identity = config.identity.expected();
    options.management = config
        .management
        .as_ref()
        .map(|url| url.expose_secret().to_owned());
    options
}

/// Returns the options for connecting to the PostgreSQL that the config names.
pub fn postgres(config: &Config) -> hookbox_driver_postgres::Options {
    let url = match &config.store {
        StoreUrl::Postgres(url) => url.expose_secret(),
        StoreUrl::Sqlite(_) | StoreUrl::NotResolved => "",
    };
    let limits = config.routes.iter().map(|route| route.handler_time_limit);
    let (least, most) = (limits.clone().min(), limits.max());
    let mut options = hookbox_driver_postgres::Options::new(url, config.environment.clone());
    options.identity = config.identity.expected();
    options.connections_max = config.store_connections;
    options.connection_lifetime = config.store_connection_lifetime;
    options.handler_time_limits(least.unwrap_or_default(), most.unwrap_or_default())
}
