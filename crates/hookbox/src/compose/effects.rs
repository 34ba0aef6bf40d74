//! Makes the effects that come with hookbox from their settings. Each effect also gets its secrets,
//! the clock, the resolver of host names, and the options for hookbox's own broker, as far as it
//! needs them.

use std::sync::Arc;

use hookbox_config::{BrokerUrl, options};
use hookbox_driver::SystemClock;
use hookbox_handlers::Reference;
use hookbox_handlers::forward::{self, Forward};
use hookbox_handlers::publish::{self, Publish};

use super::make_context::{BoxError, MakeContext};
use super::not_resolved::not_resolved;

/// Makes the effect `forward`, which posts events to a user's service.
pub fn forward(settings: &forward::Settings, with: &MakeContext<'_>) -> Result<Forward, BoxError> {
    let read = |reference: &Reference| with.read_secret(reference);
    let (resolve, clock) = (Arc::clone(&with.resolve), Arc::new(SystemClock));
    Ok(Forward::new(settings, with.folder, &read, resolve, clock)?)
}

/// Makes the effect `publish`, which publishes events to a user's exchange.
pub fn publish(settings: &publish::Settings, with: &MakeContext<'_>) -> Result<Publish, BoxError> {
    let read = |reference: &Reference| with.read_secret(reference);
    let own = match &with.config.broker {
        BrokerUrl::Amqp(url) => Some(options::rabbit(with.config, url)),
        BrokerUrl::Sqlite(_) => None,
        BrokerUrl::NotResolved if settings.url.is_some() => None,
        BrokerUrl::NotResolved => return Err(not_resolved("the broker").into()),
    };
    let environment = with.config.environment.clone();
    Ok(Publish::new(settings, own, environment, &read)?)
}
