//! What a worker is to do, in values that are valid already.

use std::num::NonZeroUsize;
use std::time::Duration;

use hookbox_driver::Store;
use hookbox_event::{RouteName, Topic, TopicPattern};

use crate::{Registered, Retry, SourceSchemas};

/// Everything a worker needs to know.
pub struct Config<S: Store> {
    /// The routes that it works on.
    pub routes: Vec<Route<S>>,
    /// Every route that has a queue, in whatever worker: retries of others wait until they have
    /// one again.
    pub all_routes: Vec<RouteName>,
    /// The JSON Schemas of sources that have some.
    pub schemas: SourceSchemas,
    /// What to do with conflicts, first match wins; a dead letter where none matches.
    pub conflicts: Vec<ConflictRule>,
    /// How often to look for retries that are due. The precision of every backoff; a look is one
    /// indexed query. Half a second is a good value.
    pub schedule_interval: Duration,
    /// Whether to take from the broker's queues of dead letters and of accounts into the store.
    /// Every worker may.
    pub collect: bool,
    /// Whether to keep the store's newest witness at the broker. Off where they are one file: what
    /// restores one restores the other.
    pub witness: bool,
}

/// One route, as the worker sees it.
pub struct Route<S: Store> {
    /// Its name, and that of its queue.
    pub name: RouteName,
    /// What is done about its events.
    pub handler: Registered<S>,
    /// When to try again, and when to give up.
    pub retry: Retry,
    /// How long one run of the handler may take.
    pub time_limit: Duration,
    /// How many transactions run at once.
    pub concurrency: NonZeroUsize,
    /// How many messages may be in flight, waiting or being worked on. Bounds memory: each message
    /// is at most a batch (256 KiB) or one body.
    pub prefetch: u16,
}

/// What to do with another body under a known event id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// Keep it as a dead letter for a person to judge.
    DeadLetter,
    /// Process it as an event of its own.
    Process,
    /// Take it for the same event: the id decides, and the body that came first is the event's.
    Duplicate,
}

/// What to do with conflicts of some topics.
#[derive(Debug, Clone)]
pub struct ConflictRule {
    /// Which topics.
    pub topics: TopicPattern,
    /// What to do.
    pub action: OnConflict,
}

impl<S: Store> Config<S> {
    pub(crate) fn on_conflict(&self, topic: &Topic) -> OnConflict {
        self.conflicts
            .iter()
            .find(|rule| rule.topics.matches(topic))
            .map_or(OnConflict::DeadLetter, |rule| rule.action)
    }
}
