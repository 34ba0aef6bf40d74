//! The settings of a route: its topics, its handler, and when to retry.

use std::num::NonZeroUsize;
use std::time::Duration;

use hookbox_event::{Condition, Newest, RouteName, TopicPattern};
use hookbox_worker::{Retry, defaults};

use super::condition;
use super::file::{Route, Worker};
use super::handler_kinds::HandlerConfig;
use super::handler_settings::HandlerSettings;
use super::newest;
use super::place::Places;
use super::units::duration;

/// The name of the route for topics that no other route selects. This route always exists.
pub const UNROUTED: &str = "unrouted";

/// The longest time limit that a handler can have: a tenth of the 30 minutes after which RabbitMQ
/// redelivers a message that is not settled. The rest is for retries of the transaction. A message
/// with a batch of 64 slow events may still take longer than 30 minutes. Each event that is
/// committed by then stays committed, because no transaction waits for the whole batch.
const HANDLER_TIME_LIMIT_MAX: Duration = Duration::from_secs(180);

/// The default time limit for one run of a handler.
pub const HANDLER_TIME_LIMIT: Duration = defaults::HANDLER_TIME_LIMIT;

/// The default for how many transactions a route may run at once.
pub const CONCURRENCY: usize = defaults::CONCURRENCY.get();

/// The default for how many messages of a route may be in flight.
pub const PREFETCH: u16 = defaults::PREFETCH;

/// The kind of handler that a route has by default.
pub const HANDLER: &str = "record";

/// The default for the number of attempts.
pub const ATTEMPTS: i64 = defaults::ATTEMPTS as i64;

/// The default delays between attempts.
pub const DELAYS: Delays = Delays {
    first: defaults::FIRST_DELAY,
    factor: defaults::DELAY_FACTOR,
    max: defaults::LONGEST_DELAY,
    jitter: defaults::JITTER,
};

/// The effective settings of a route.
pub struct RouteConfig {
    /// The name of the route.
    pub name: RouteName,
    /// The topics that the route selects; empty for the route [`UNROUTED`].
    pub topics: Vec<TopicPattern>,
    /// The conditions on the body, all of which must hold; empty if the route has none.
    pub conditions: Vec<Condition>,
    /// Where in a body the key and the version are, if the route handles only the newest event of
    /// each key.
    pub newest: Option<Newest>,
    /// The handler that processes the events of the route.
    pub handler: HandlerConfig,
    /// The retry policy: when a failed event is tried again, and when it becomes a dead letter.
    pub retry: Retry,
    /// The delays from which the retry policy was built.
    pub delays: Delays,
    /// The time limit for one run of the handler.
    pub handler_time_limit: Duration,
    /// How many transactions the route may run at once.
    pub concurrency: NonZeroUsize,
    /// How many messages of the route may be in flight at once.
    pub prefetch: u16,
}

/// The values of a retry policy, except for the number of attempts.
#[derive(Clone, Copy)]
pub struct Delays {
    /// The delay after the first failure.
    pub first: Duration,
    /// The factor by which each delay is longer than the one before.
    pub factor: f64,
    /// The longest delay between two attempts.
    pub max: Duration,
    /// The fraction by which each delay varies at random: 0.2 means up to a fifth longer or
    /// shorter.
    pub jitter: f64,
}

/// Checks the settings of one route.
pub fn check(at: &str, route: &Route, worker: &Worker, places: &mut Places) -> Option<RouteConfig> {
    let name = places.take(&format!("{at}/name"), route.name.parse::<RouteName>());
    if route.name == UNROUTED {
        places.mistake(
            &format!("{at}/name"),
            "\"unrouted\" is the route for topics that no other route selects; it always exists",
        );
    }
    let topics: Vec<TopicPattern> = route
        .topics
        .iter()
        .enumerate()
        .filter_map(|(index, topic)| places.take(&format!("{at}/topics/{index}"), topic.parse()))
        .collect();
    let conditions = condition::check(at, &route.conditions, places);
    let newest = route.newest.as_ref();
    let newest = newest.and_then(|it| newest::check(at, it, places));
    let retry = retry(&format!("{at}/retry"), route, places);
    let handler_time_limit = handler_time_limit(at, route, worker, places)?;
    let (retry, delays) = retry?;
    let concurrency = route
        .concurrency
        .or(worker.concurrency)
        .unwrap_or(CONCURRENCY);
    Some(RouteConfig {
        name: name?,
        topics,
        conditions,
        newest,
        handler: handler(route),
        retry,
        delays,
        handler_time_limit,
        // The default here is never used, because the config schema requires a concurrency of at
        // least one.
        concurrency: NonZeroUsize::new(concurrency).unwrap_or(NonZeroUsize::MIN),
        prefetch: route.prefetch.or(worker.prefetch).unwrap_or(PREFETCH),
    })
}

fn handler(route: &Route) -> HandlerConfig {
    match &route.handler {
        Some(handler) => HandlerConfig {
            kind: handler.kind.clone(),
            settings: handler.settings.clone(),
        },
        None => HandlerConfig {
            kind: HANDLER.into(),
            settings: HandlerSettings::default(),
        },
    }
}

/// Returns the route for topics that no other route selects.
pub fn unrouted(worker: &Worker, places: &mut Places) -> Option<RouteConfig> {
    let route = Route {
        name: "unrouted-settings".into(),
        topics: Vec::new(),
        conditions: Vec::new(),
        newest: None,
        handler: None,
        retry: None,
        concurrency: None,
        prefetch: None,
        handler_time_limit: None,
    };
    let name = UNROUTED.parse().ok()?;
    Some(RouteConfig {
        name,
        ..check("/worker", &route, worker, places)?
    })
}

fn handler_time_limit(
    at: &str,
    route: &Route,
    worker: &Worker,
    places: &mut Places,
) -> Option<Duration> {
    let (at, text) = match (&route.handler_time_limit, &worker.handler_time_limit) {
        (Some(text), _) => (format!("{at}/handler_time_limit"), text),
        (None, Some(text)) => ("/worker/handler_time_limit".to_owned(), text),
        (None, None) => return Some(HANDLER_TIME_LIMIT),
    };
    let limit = places.take(&at, duration(text))?;
    if limit.is_zero() || limit > HANDLER_TIME_LIMIT_MAX {
        places.mistake(
            &at,
            "the value must be from 1 ms to 3 min: RabbitMQ redelivers a message that is not \
             settled within 30 min",
        );
    }
    Some(limit)
}

fn retry(at: &str, route: &Route, places: &mut Places) -> Option<(Retry, Delays)> {
    let given = route.retry.clone().unwrap_or_default();
    let mut time = |key: &str, text: Option<&String>, usual: Duration| match text {
        Some(text) => places.take(&format!("{at}/{key}"), duration(text)),
        None => Some(usual),
    };
    let first = time("first", given.first.as_ref(), DELAYS.first)?;
    // If the config sets only the first delay, it may be longer than the default of the longest
    // delay: the longest delay is then the first delay. It is a mistake only if the config sets
    // both, and the first is longer.
    let usual = first.max(DELAYS.max);
    let max = time("max", given.max.as_ref(), usual)?;
    let delays = Delays {
        first,
        factor: given.factor.unwrap_or(DELAYS.factor),
        max,
        jitter: given.jitter.unwrap_or(DELAYS.jitter),
    };
    // A number that does not fit a `u32` becomes 0 here, and `Retry::new` refuses 0.
    let attempts = u32::try_from(given.attempts.unwrap_or(ATTEMPTS)).unwrap_or(0);
    let built = Retry::new(attempts, first, delays.factor, max, delays.jitter);
    Some((places.take(at, built)?, delays))
}
