//! The configuration of a worker, as values that are validated already.

use std::num::NonZeroUsize;
use std::time::Duration;

use hookbox_driver::{RouteLimits, Store};
use hookbox_event::{Digester, Newest, RouteName, Topic, TopicPattern};

use crate::{Registered, RegisteredEffect, Retry, SourceSchemas, defaults};

/// The configuration of a worker.
pub struct Config<S: Store> {
    /// The routes that this worker handles.
    pub routes: Vec<Route<S>>,
    /// Every route that has a queue, including the routes that other workers handle. A retry for a
    /// route that is not in this list waits until the route has a queue again.
    pub all_routes: Vec<RouteName>,
    /// The JSON Schemas of the sources that have some.
    pub schemas: SourceSchemas,
    /// The rules for conflicts. The first match decides; where no rule matches, a conflict becomes
    /// a dead letter.
    pub conflicts: Vec<ConflictRule>,
    /// Computes the event ids of conflicts. On a route with `newest`, also computes the digest of
    /// the key that an event has there.
    pub digester: Digester,
    /// How often the worker checks for due retries. A retry is late by up to this time. Each check
    /// is one indexed query, so half a second is a good value.
    pub schedule_interval: Duration,
    /// Whether this worker moves the broker's dead messages and accept reports into the store. Any
    /// number of workers may do so.
    pub collect: bool,
    /// Whether this worker keeps the store's newest witness message at the broker; the witness
    /// shows later whether the store or the broker was restored to an older state. This is false if
    /// store and broker are one file, because restoring one of them then restores the other, too.
    pub witness: bool,
}

/// One route that a worker handles.
pub struct Route<S: Store> {
    /// The name of the route; its queue is named after it.
    pub name: RouteName,
    /// The topics that other routes select, too. The events of these topics are stored in a
    /// separate transaction before the handler runs on them, so that no route waits for the handler
    /// of another one.
    pub shared_topics: Vec<TopicPattern>,
    /// Where a body has the event's key and version. If it is set, the route handles only the
    /// newest event of each key.
    pub newest: Option<Newest>,
    /// What is done with the route's events.
    pub work: RouteWork<S>,
    /// When a failed event is tried again, and when it is given up.
    pub retry: Retry,
    /// How long one run of the handler may take. An effect has a limit of its own.
    pub time_limit: Duration,
    /// How many transactions of the route run at once.
    pub concurrency: NonZeroUsize,
    /// How many messages may be in flight, waiting or being handled. This limits memory: a message
    /// is at most one batch (256 KiB) or one body.
    pub prefetch: u16,
}

/// What a route does with its events.
pub enum RouteWork<S: Store> {
    /// Runs a handler, in a transaction of the database.
    Handler(Registered<S>),
    /// Makes an external call for each event, outside of any transaction.
    Effect(RegisteredEffect),
}

/// What to do with a conflict: another body under a known event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Store the conflict as a dead letter, for a person to decide.
    #[default]
    DeadLetter,
    /// Process the conflict as an event of its own.
    Process,
    /// Treat the conflict as the same event: the event id decides, and the event keeps the body
    /// that was received first.
    Duplicate,
}

/// A rule for the conflicts of some topics.
#[derive(Debug, Clone)]
pub struct ConflictRule {
    /// The topics that the rule applies to.
    pub topics: TopicPattern,
    /// What to do with a conflict of these topics.
    pub action: OnConflict,
}

impl<S: Store> Route<S> {
    /// Creates a route with the default settings.
    pub fn new(name: RouteName, work: impl Into<RouteWork<S>>) -> Self {
        Self {
            name,
            shared_topics: Vec::new(),
            newest: None,
            work: work.into(),
            retry: Retry::default(),
            time_limit: defaults::HANDLER_TIME_LIMIT,
            concurrency: defaults::CONCURRENCY,
            prefetch: defaults::PREFETCH,
        }
    }

    /// Returns how many transactions of the route may run at once: as many as an operator has set,
    /// but never more than the config says.
    pub(crate) fn concurrency_within(&self, limits: RouteLimits) -> NonZeroUsize {
        let limit = limits.concurrency_per_worker;
        let limit = limit.and_then(|limit| NonZeroUsize::try_from(limit).ok());
        limit.map_or(self.concurrency, |limit| limit.min(self.concurrency))
    }

    /// Returns whether other routes get the events of this topic, too.
    pub(crate) fn shares(&self, topic: &Topic) -> bool {
        self.shared_topics.iter().any(|it| it.matches(topic))
    }
}

impl<S: Store> RouteWork<S> {
    /// Returns the name of the handler or the effect.
    pub fn name(&self) -> &'static str {
        match self {
            RouteWork::Handler(handler) => handler.name(),
            RouteWork::Effect(effect) => effect.name(),
        }
    }

    /// Returns whether an event that is done may be put on the route again; see
    /// [`crate::Handler::is_repeatable`].
    pub fn is_repeatable(&self) -> bool {
        match self {
            RouteWork::Handler(handler) => handler.is_repeatable(),
            RouteWork::Effect(effect) => effect.is_repeatable(),
        }
    }
}

impl<S: Store> Clone for RouteWork<S> {
    fn clone(&self) -> Self {
        match self {
            RouteWork::Handler(handler) => RouteWork::Handler(Registered::clone(handler)),
            RouteWork::Effect(effect) => RouteWork::Effect(RegisteredEffect::clone(effect)),
        }
    }
}

impl<S: Store> From<Registered<S>> for RouteWork<S> {
    fn from(handler: Registered<S>) -> Self {
        RouteWork::Handler(handler)
    }
}

impl<S: Store> From<RegisteredEffect> for RouteWork<S> {
    fn from(effect: RegisteredEffect) -> Self {
        RouteWork::Effect(effect)
    }
}

impl<S: Store> Config<S> {
    /// Creates the configuration of a worker that handles all routes, with the default settings,
    /// no identity key, no JSON Schemas and no rules for conflicts. Where store and broker are one
    /// file, set `witness` to false.
    pub fn new(routes: Vec<Route<S>>) -> Self {
        Self {
            all_routes: routes.iter().map(|route| route.name.clone()).collect(),
            routes,
            schemas: SourceSchemas::default(),
            conflicts: Vec::new(),
            digester: Digester::Plain,
            schedule_interval: defaults::SCHEDULE_INTERVAL,
            collect: true,
            witness: true,
        }
    }

    pub(crate) fn on_conflict(&self, topic: &Topic) -> OnConflict {
        self.conflicts
            .iter()
            .find(|rule| rule.topics.matches(topic))
            .map(|rule| rule.action)
            .unwrap_or_default()
    }
}
