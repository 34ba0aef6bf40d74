//! The structs for `[[route]]`, and for the defaults of all routes in `[worker]`.

use serde::Deserialize;

#[cfg(test)]
use crate::{pattern, route, units::duration_text};

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Transactions at once, for each route, 1 to 256.
    #[cfg_attr(test, schemars(
        range(min = 1, max = 256),
        extend("default" = route::CONCURRENCY),
    ))]
    pub concurrency: Option<usize>,
    /// Most messages in flight, for each route, 1 to 2000.
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
    /// Names the route's queue and its memory of what it has done: a new name is a new memory. 1 to
    /// 63 characters of a-z, 0-9, `-` and `_`, of which the first is a letter or digit.
    #[cfg_attr(test, schemars(regex(pattern = pattern::NAME)))]
    pub name: String,
    /// Patterns of topics: `*` is any text within one part, `#` any parts.
    #[cfg_attr(test, schemars(length(min = 1), inner(length(min = 1))))]
    pub topics: Vec<String>,
    /// What is done with an event.
    #[cfg_attr(test, schemars(extend("default" = { "kind": route::HANDLER })))]
    pub handler: Option<Handler>,
    /// When a failed event is tried again, and when it becomes a dead letter.
    pub retry: Option<Retry>,
    /// Transactions at once, 1 to 256.
    ///
    /// Default: that of `[worker]`.
    #[cfg_attr(test, schemars(range(min = 1, max = 256)))]
    pub concurrency: Option<usize>,
    /// Most messages in flight, 1 to 2000.
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
    /// `record` (keep the event) or `begini` (typed rows).
    #[cfg_attr(test, schemars(extend("enum" = ["record", "begini"])))]
    pub kind: String,
}

#[derive(Deserialize, Clone, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[serde(deny_unknown_fields)]
pub struct Retry {
    // The type allows any integer, so that the check can say why an impossible number is refused.
    /// Runs in all, 1 to 100; after the last the event is a dead letter.
    #[cfg_attr(test, schemars(extend("default" = route::ATTEMPTS)))]
    pub attempts: Option<i64>,
    /// The delay after the first failure.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(route::DELAYS.first)),
    ))]
    pub first: Option<String>,
    /// How much longer each further delay is, 1 to 100.
    #[cfg_attr(test, schemars(extend("default" = route::DELAYS.factor)))]
    pub factor: Option<f64>,
    /// The longest delay, at most 7 d.
    #[cfg_attr(test, schemars(
        regex(pattern = pattern::DURATION),
        extend("default" = duration_text(route::DELAYS.max)),
    ))]
    pub max: Option<String>,
    /// By which share each delay is varied, 0 to 1.
    #[cfg_attr(test, schemars(extend("default" = route::DELAYS.jitter)))]
    pub jitter: Option<f64>,
}
