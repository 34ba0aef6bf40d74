//! What a worker has done since its start, as plain numbers for metrics and pages.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hookbox_event::RouteName;

use crate::rights::Rights;

/// The counters of all routes of one worker.
#[derive(Debug, Default)]
pub struct Counters {
    /// By route.
    pub routes: BTreeMap<RouteName, RouteCounters>,
    /// Retries put back into their queue.
    pub requeued: AtomicU64,
    /// Envelopes collected from the broker's dead-letter queue.
    pub collected: AtomicU64,
    /// Accounts written into the store.
    pub accounts: AtomicU64,
}

/// The counters of one route. All of receipts, but where said otherwise.
#[derive(Debug, Default)]
pub struct RouteCounters {
    /// Handled, effects committed.
    pub done: AtomicU64,
    /// Known events.
    pub duplicate: AtomicU64,
    /// Other bodies under known events.
    pub conflict: AtomicU64,
    /// Dead letters.
    pub dead: AtomicU64,
    /// Failed attempts that will be tried again.
    pub retrying: AtomicU64,
    /// Put off without an attempt; they will be tried again.
    pub deferred: AtomicU64,
    /// Receipts that had their outcome already.
    pub redelivered: AtomicU64,
    /// Runs in isolation of events that were in flight when a process died.
    pub suspects: AtomicU64,
    /// Faults of our own, which cost no event an attempt.
    pub faults: AtomicU64,
    /// Whether the route is paused because a dependency is unavailable: it holds what it has.
    pub paused: AtomicBool,
    /// Receipts that are being worked on: claimed, handled, or held until they can be.
    pub in_flight: AtomicU64,
    /// Handlers that run now.
    pub running: AtomicU64,
    /// For how many seconds nothing was settled while something was in flight.
    pub standstill_s: AtomicU64,
    /// Whether the route stands still longer than its handlers account for.
    pub stalled: AtomicBool,
    /// Rights that the route's handler lacks.
    pub(crate) rights: Rights,
    /// Whether the route has no subscription, since the broker is unavailable: it gets nothing new.
    pub unsubscribed: AtomicBool,
}

/// Something that is counted while this is held.
pub(crate) struct Counted<'a> {
    gauge: &'a AtomicU64,
    by: u64,
}

impl<'a> Counted<'a> {
    pub fn new(gauge: &'a AtomicU64, by: u64) -> Self {
        add(gauge, by);
        Self { gauge, by }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.gauge.fetch_sub(self.by, Ordering::Relaxed);
    }
}

impl RouteCounters {
    /// What the route's handler lacks in the database, while it is paused for that: text for
    /// operators.
    pub fn missing_right(&self) -> Option<String> {
        self.rights.missing()
    }

    /// Receipts that were settled in one way or another. It grows with everything that moves.
    pub fn settled(&self) -> u64 {
        let all = [
            &self.done,
            &self.duplicate,
            &self.conflict,
            &self.dead,
            &self.retrying,
            &self.deferred,
            &self.redelivered,
        ];
        all.iter()
            .map(|counter| counter.load(Ordering::Relaxed))
            .sum()
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    // A counter orders nothing: it is read for display only.
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn new<'a>(routes: impl IntoIterator<Item = &'a RouteName>) -> Self {
        let routes = routes
            .into_iter()
            .map(|name| (name.clone(), RouteCounters::default()));
        Self {
            routes: routes.collect(),
            ..Self::default()
        }
    }

    /// Whether a handler has run to its end here and the process has survived it.
    pub(crate) fn has_completed(&self) -> bool {
        let ran = |route: &RouteCounters| {
            [&route.done, &route.retrying]
                .iter()
                .any(|counter| counter.load(Ordering::Relaxed) > 0)
        };
        self.routes.values().any(ran)
    }

    /// All receipts that got an outcome in this process.
    pub fn settled(&self) -> u64 {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.routes
            .values()
            .map(|route| {
                read(&route.done)
                    + read(&route.duplicate)
                    + read(&route.conflict)
                    + read(&route.dead)
                    + read(&route.retrying)
                    + read(&route.deferred)
            })
            .sum()
    }
}
