//! The settings of `publish`, as the config has them.

use std::collections::BTreeMap;

use hookbox_forward::{RateSettings, Reference};
use serde::Deserialize;

use super::RoutingKey;

/// The settings of `publish`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The secret with the URL of the RabbitMQ. Without it, messages go to the broker of hookbox.
    pub url: Option<Reference>,
    /// Declares that no strangers share the network between hookbox and the RabbitMQ of `url`.
    pub network: Option<PrivateNetwork>,
    /// The exchange, which hookbox does not declare.
    pub exchange: String,
    /// The routing key of each message.
    #[serde(default)]
    pub routing_key: RoutingKey,
    /// The media type of each message, if it is not `application/json`.
    pub content_type: Option<String>,
    /// Further headers of each message, which contain no secret.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The most messages that are published and not confirmed at once.
    pub concurrency: Option<u32>,
    /// The most messages in a time.
    pub rate: Option<RateSettings>,
    /// Whether an event that is done may be published again, when an operator replays it.
    #[serde(default)]
    pub repeatable: bool,
}

/// The only value of `network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrivateNetwork {
    /// The connection need not be encrypted.
    Private,
}
