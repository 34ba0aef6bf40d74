//! The settings of `publish`, as they are written in the config.

use std::collections::BTreeMap;

use hookbox_forward::{RateSettings, Reference};
use serde::Deserialize;

use super::RoutingKey;

/// The settings of `publish`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the URL of the RabbitMQ is read from; it is a secret. If this is not set, messages go
    /// to the broker of hookbox.
    pub url: Option<Reference>,
    /// Declares that no strangers share the network between hookbox and the RabbitMQ of `url`.
    pub network: Option<PrivateNetwork>,
    /// The exchange to which messages are published. It must exist, because hookbox does not
    /// declare it.
    pub exchange: String,
    /// The routing key of each message.
    #[serde(default)]
    pub routing_key: RoutingKey,
    /// The media type of each message, if it is not `application/json`.
    pub content_type: Option<String>,
    /// Further headers of each message, which contain no secret.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The highest number of messages that are published and not confirmed yet.
    pub concurrency: Option<u32>,
    /// The highest rate: how many messages may be published in what time.
    pub rate: Option<RateSettings>,
    /// Whether an event that is done may be published again, when an operator replays it.
    #[serde(default)]
    pub repeatable: bool,
}

/// The only value that the setting `network` can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PrivateNetwork {
    /// No strangers share the network, so the connection need not be encrypted.
    Private,
}
