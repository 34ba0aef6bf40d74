//! Checks the URLs of servers with the code that later connects to them, so that a URL which is
//! valid here is also valid for `migrate` and for every start.

use hookbox_driver::OpenError;

use super::config::Config;
use super::options;
use super::place::Places;
use super::server::{BrokerUrl, Network, StoreUrl};

/// Parses every server URL without connecting.
pub fn check(config: &Config, places: &mut Places) {
    match &config.store {
        StoreUrl::Postgres(_) => {
            let read = options::postgres(config).is_protected();
            let tls = "add sslmode=verify-full to the URL";
            let link = ("PostgreSQL", tls, config.store_network);
            note("/store/url", read, link, places);
        }
        StoreUrl::Sqlite(_) | StoreUrl::NotResolved => {}
    }
    match &config.broker {
        BrokerUrl::Amqp(url) => {
            let options = options::rabbit(config, url);
            let link = ("RabbitMQ", "use amqps://", config.broker_network);
            note("/broker/url", options.is_protected(), link, places);
            let link = ("the management API", "use https://", config.broker_network);
            let read = options.is_management_protected();
            note("/broker/management", read, link, places);
        }
        BrokerUrl::Sqlite(_) | BrokerUrl::NotResolved => {}
    }
}

/// Records a mistake for an invalid URL, and a warning for a connection that others on the network
/// could read or redirect. `is_protected` comes from parsing the URL: whether the connection is
/// safe from that. `to` is the name of the server, and `tls` says how to protect the connection.
/// `network` is what the config declares about the network.
fn note(
    at: &str,
    is_protected: Result<bool, OpenError>,
    (to, tls, network): (&str, &str, Network),
    places: &mut Places,
) {
    match (is_protected, network) {
        (Ok(true), _) | (Ok(false), Network::Private) => {}
        (Ok(false), Network::Any) => {
            let what = format!(
                "{to} is on another machine, and the connection to it is not both encrypted and \
                 verified: {tls}; or, if the network between hookbox and {to} is private, set \
                 network = \"private\" in this table; version 0.3 refuses to start without one of \
                 the two"
            );
            places.warn(at, what);
        }
        // The driver's error `why` never contains a part of the URL, because the URL may contain a
        // password.
        (Err(OpenError::Options { why, .. }), _) => places.mistake(at, why),
        (Err(other), _) => places.mistake(at, other.to_string()),
    }
}
