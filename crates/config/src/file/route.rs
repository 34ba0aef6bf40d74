//! The structs for `[[route]]`, and for the defaults of all routes in `[worker]`.

use serde::Deserialize;

use super::condition::Condition;
use super::newest::Newest;
use crate::handler_settings::HandlerSettings;

#[cfg(test)]
use crate::{handler_kinds, pattern, route, units::duration_text};

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// The most transactions at once, for each route, 1 to 256.
    #[cfg_attr(test, schemars(
        range(min = 1, max = 256),
        extend("default" = route::CONCURRENCY),
    ))]
    pub concurrency: Option<usize>,
    /// The most messages in flight, for each route, 1 to 2000.
    #[cfg_attr(test, schemars(
        range(min = 1, max = 2000),
        extend("default" = route::PREFETCH),
    ))]
    pub prefetch: Option<u16>,
    /// How long one run of a handler may take, at most 3 min: RabbitMQ redelivers a message that is
    /// not settled within 30 min, and one message carries many events.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(route::HANDLER_TIME_LIMIT)),
    ))]
    pub handler_time_limit: Option<String>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// The name of the route and of its queue. The claims, which record what the route has done,
    /// belong to this name: a route with a new name has none. 1 to 63 characters of a-z, 0-9, `-`
    /// and `_`, of which the first is a letter or digit.
    #[cfg_attr(test, schemars(regex(pattern = pattern::NAME)))]
    pub name: String,
    /// Patterns of topics, whose parts are separated by dots. `*` stands for any text within one
    /// part, and `#`, only as the last part, for all remaining parts.
    #[cfg_attr(test, schemars(length(min = 1), inner(length(min = 1))))]
    pub topics: Vec<String>,
    /// Conditions on the body, at most 16. The route gets only those events of its topics for which
    /// all conditions hold. See "Conditions".
    #[serde(rename = "where", default)]
    pub conditions: Vec<Condition>,
    /// Handle only the newest event of each key: an event becomes `stale` if a newer event of the
    /// same key is already done. See "Newest".
    pub newest: Option<Newest>,
    /// The handler that processes the events.
    #[cfg_attr(test, schemars(extend("default" = { "kind": route::HANDLER })))]
    pub handler: Option<Handler>,
    /// When a failed event is tried again, and when it becomes a dead letter.
    pub retry: Option<Retry>,
    /// The most transactions at once, 1 to 256.
    ///
    /// Default: that of `[worker]`.
    #[cfg_attr(test, schemars(range(min = 1, max = 256)))]
    pub concurrency: Option<usize>,
    /// The most messages in flight, 1 to 2000.
    ///
    /// Default: that of `[worker]`.
    #[cfg_attr(test, schemars(range(min = 1, max = 2000)))]
    pub prefetch: Option<u16>,
    /// How long one run of the handler may take, at most 3 min.
    ///
    /// Default: that of `[worker]`.
    #[cfg_attr(test, schemars(regex(pattern = pattern::DURATION)))]
    pub handler_time_limit: Option<String>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Handler {
    /// `record` (only stores the event), `begini` (also stores typed rows of Begini's events),
    /// `sql` (runs statements of your own), `forward` (posts the event to a service of yours) or
    /// `publish` (publishes it to an exchange of yours; see below).
    #[cfg_attr(test, schemars(extend("enum" = handler_kinds::BUILT_IN)))]
    pub kind: String,
    /// The other keys of the table: the settings of the handler. They are not in the schema,
    /// because each kind of handler has its own settings.
    #[serde(skip)]
    pub settings: HandlerSettings,
}

#[derive(Deserialize, Clone, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Retry {
    // The type of `attempts` allows any integer, so that the check can say why an impossible number
    // is refused.
    /// The number of attempts in all, 1 to 100. If the last one fails, the event is a dead letter.
    #[cfg_attr(test, schemars(extend("default" = route::ATTEMPTS)))]
    pub attempts: Option<i64>,
    /// The delay after the first failure.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(route::DELAYS.first)),
    ))]
    pub first: Option<String>,
    /// The factor by which each further delay is longer than the one before, 1 to 100.
    #[cfg_attr(test, schemars(extend("default" = route::DELAYS.factor)))]
    pub factor: Option<f64>,
    /// The longest delay between two attempts, at most 7 d.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(route::DELAYS.max)),
    ))]
    pub max: Option<String>,
    /// The share of each delay by which it is varied at random, 0 to 1.
    #[cfg_attr(test, schemars(extend("default" = route::DELAYS.jitter)))]
    pub jitter: Option<f64>,
}
