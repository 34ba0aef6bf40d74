//! Counts what a worker has done since its start, for metrics and pages.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hookbox_driver::RoutePause;
use hookbox_event::RouteName;

use crate::operator_pause::OperatorPause;
use crate::rights::Rights;
use crate::running_handlers::RunningHandlers;

/// The counters of all routes of one worker.
#[derive(Debug, Default)]
pub struct Counters {
    /// The counters of each route, by its name.
    pub routes: BTreeMap<RouteName, RouteCounters>,
    /// Retries that were put back on the queue of their route.
    pub requeued: AtomicU64,
    /// Envelopes collected from the broker's dead-letter queue.
    pub collected: AtomicU64,
    /// Accept reports that were stored.
    pub accounts: AtomicU64,
}

/// The counters of one route. They count receipts, except where the comment of a counter says
/// otherwise.
#[derive(Debug, Default)]
pub struct RouteCounters {
    /// Receipts whose handler succeeded and whose effects are committed.
    pub done: AtomicU64,
    /// Receipts of events that the route has claimed already.
    pub duplicate: AtomicU64,
    /// Receipts with another body for a known event.
    pub conflict: AtomicU64,
    /// Dead letters that the route has made.
    pub dead: AtomicU64,
    /// Receipts of stale events: another event of the same key was done and is newer.
    pub stale: AtomicU64,
    /// Receipts whose attempt failed and which wait for their next attempt.
    pub retrying: AtomicU64,
    /// Receipts whose event was deferred, which costs no attempt. The event will be tried again.
    pub deferred: AtomicU64,
    /// Events that were leased for an external call. Their receipts have no outcome yet.
    pub leased: AtomicU64,
    /// External calls whose end changed nothing: the event had its outcome already, or a newer call
    /// for it was begun, and only the end of that call counts.
    pub superseded: AtomicU64,
    /// External calls that are in flight.
    pub calls_in_flight: AtomicU64,
    /// Messages that wait until another call may be made to the target.
    pub target_waits: AtomicU64,
    /// Whether the route is paused because its target is not reached or has asked for a pause. Such
    /// a route takes no messages, or one at a time.
    pub target_down: AtomicBool,
    /// Redelivered receipts that already had their outcome.
    pub redelivered: AtomicU64,
    /// Isolated runs of events that were in flight when a process died.
    pub suspects: AtomicU64,
    /// Faults of dependencies, which cost no event an attempt.
    pub faults: AtomicU64,
    /// Whether the route is paused because a dependency is unavailable; messages in flight are
    /// kept.
    pub paused: AtomicBool,
    /// Receipts that are in flight: they are being handled, or wait for that.
    pub in_flight: AtomicU64,
    /// The runs of the handler, or the external calls, that have not ended.
    pub running: RunningHandlers,
    /// The number of seconds for which nothing was settled although something was in flight.
    pub standstill_s: AtomicU64,
    /// Whether the route is at a standstill: it has settled nothing for longer than its running
    /// handlers may take by their time limit.
    pub stalled: AtomicBool,
    /// The database rights that the route's handler lacks.
    pub(crate) rights: Rights,
    operator_pause: OperatorPause,
    /// Whether the route has no subscription because the broker is unavailable, so that it receives
    /// nothing.
    pub unsubscribed: AtomicBool,
}

/// Increases a gauge, and decreases it by the same amount when this value is dropped.
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
    /// Returns the database rights that the route's handler lacks, as text for operators. `None`
    /// unless the route is paused for that reason.
    pub fn missing_right(&self) -> Option<String> {
        self.rights.missing()
    }

    /// Stores the pause that an operator has set for the route, as the worker has read it; `None`
    /// while the route is not paused.
    pub fn set_operator_pause(&self, pause: Option<&RoutePause>) {
        self.operator_pause.set(pause);
    }

    /// Returns the pause of the route by an operator; `None` while it is not paused.
    pub fn operator_pause(&self) -> Option<RoutePause> {
        self.operator_pause.get()
    }

    /// Returns a number that every progress of the route increases: the receipts that were settled
    /// in any way, plus other steps towards an outcome, such as leases.
    pub fn settled(&self) -> u64 {
        let all = [
            &self.done,
            &self.duplicate,
            &self.conflict,
            &self.dead,
            &self.stale,
            &self.retrying,
            &self.deferred,
            &self.leased,
            &self.superseded,
            &self.redelivered,
        ];
        all.iter()
            .map(|counter| counter.load(Ordering::Relaxed))
            .sum()
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    // `Relaxed` is enough, because no other memory access depends on a counter.
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

    /// Returns whether any run of a handler has ended in this process without ending the process.
    pub(crate) fn has_completed(&self) -> bool {
        let ran = |route: &RouteCounters| {
            [&route.done, &route.retrying]
                .iter()
                .any(|counter| counter.load(Ordering::Relaxed) > 0)
        };
        self.routes.values().any(ran)
    }

    /// Returns the number of receipts that got an outcome in this process.
    pub fn settled(&self) -> u64 {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.routes
            .values()
            .map(|route| {
                read(&route.done)
                    + read(&route.duplicate)
                    + read(&route.conflict)
                    + read(&route.dead)
                    + read(&route.stale)
                    + read(&route.retrying)
                    + read(&route.deferred)
            })
            .sum()
    }
}
