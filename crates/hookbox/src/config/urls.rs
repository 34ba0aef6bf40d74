//! URLs of servers, read by the code that connects with them: what is good here is good for
//! `migrate` and for every start.

use hookbox_driver::OpenError;

use super::place::Places;
use super::{BrokerUrl, Config, StoreUrl};
use crate::compose;

/// Reads every URL of a server, without a connection.
pub fn check(config: &Config, places: &mut Places) {
    match &config.store {
        StoreUrl::Postgres(_) => {
            let read = compose::postgres_options(config).check_url();
            note("/store/url", read, places);
        }
        StoreUrl::Sqlite(_) => {}
    }
    match &config.broker {
        BrokerUrl::Amqp(url) => {
            let options = compose::rabbit_options(config, url);
            note("/broker/url", options.check_url(), places);
            note("/broker/management", options.check_management(), places);
        }
        BrokerUrl::Sqlite(_) => {}
    }
}

fn note(at: &str, read: Result<(), OpenError>, places: &mut Places) {
    match read {
        Ok(()) => {}
        // It names neither the URL nor a part of it, which may be a password.
        Err(OpenError::Options { why, .. }) => places.mistake(at, why),
        Err(other) => places.mistake(at, other.to_string()),
    }
}
