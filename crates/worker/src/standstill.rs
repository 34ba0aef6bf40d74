//! Detects a route at a standstill: something is in flight, and nothing is settled.
//!
//! A standstill can have many causes: another session holds a lock on hookbox's own tables, an
//! answer was lost, or a handler waits for ever. From outside they look the same: nothing is
//! settled, and no error is reported. So a standstill is detected by its effect, and not by its
//! cause.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::Store;
use hookbox_event::RouteName;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::counters::RouteCounters;
use crate::inner::Inner;

/// How often all routes are checked. A standstill must be reported within ten seconds: the 8 s of
/// [`STANDSTILL`], and the time until the next check.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How long a route may settle nothing, while something is in flight, before it counts as standing
/// still.
const STANDSTILL: Duration = Duration::from_secs(8);

/// The task that checks all routes of a worker for a standstill. It also makes the beats of
/// [`Pulse`](crate::pulse::Pulse).
pub(crate) struct Watch<S: Store> {
    pub inner: Arc<Inner<S>>,
}

/// What the last check of a route found.
#[derive(Debug, Clone, Copy)]
struct Seen {
    settled: u64,
    /// The last time at which the number of settled receipts changed, or at which nothing was in
    /// flight.
    since: Instant,
}

impl<S: Store> Watch<S> {
    pub async fn run(self, shutdown: CancellationToken) {
        let now = Instant::now();
        let routes = &self.inner.config.routes;
        let mut seen = vec![
            Seen {
                settled: 0,
                since: now,
            };
            routes.len()
        ];
        let mut ticks = interval(CHECK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
            }
            self.inner.pulse.beat(Instant::now());
            for (route, seen) in routes.iter().zip(&mut seen) {
                if let Some(counters) = self.inner.counters.routes.get(&route.name) {
                    let waits = self.inner.isolation.is_closed();
                    check(&route.name, counters, seen, waits, Instant::now());
                }
            }
        }
    }
}

/// Checks one route. `waits_for_isolation` says that no handler may start at the moment, because a
/// suspected event runs alone or waits until it can.
fn check(
    route: &RouteName,
    counters: &RouteCounters,
    seen: &mut Seen,
    waits_for_isolation: bool,
    now: Instant,
) {
    let settled = counters.settled();
    let in_flight = counters.in_flight.load(Ordering::Relaxed);
    let running = counters.running.count();
    let may_not_start = waits_for_isolation && running == 0;
    if in_flight == 0 || settled != seen.settled || may_not_start {
        *seen = Seen {
            settled,
            since: now,
        };
    }
    let stands = now.duration_since(seen.since);
    counters
        .standstill_s
        .store(stands.as_secs(), Ordering::Relaxed);
    // A route whose handler lacks a right in the database is not at a standstill, because the
    // missing right is reported instead. A message that waits for the target of an effect is no
    // standstill either, because it waits for a limited time.
    let waits =
        counters.missing_right().is_some() || counters.target_waits.load(Ordering::Relaxed) > 0;
    let stalled = !waits && is_stalled(stands, counters.running.longest());
    if stalled == counters.stalled.swap(stalled, Ordering::Relaxed) {
        return;
    }
    if stalled {
        tracing::error!(
            route = %route,
            in_flight,
            handlers = running,
            seconds = stands.as_secs(),
            "route {route} stands still: nothing was settled for {} s while {in_flight} receipts \
             are in flight and {running} handlers run; check the store for locks that other \
             sessions hold (PostgreSQL: pg_blocking_pids)",
            stands.as_secs()
        );
    } else {
        tracing::info!(route = %route, "route {route} settles events again");
    }
}

/// Returns whether a route that has settled nothing for the time `stands` is at a standstill.
/// While handlers run, they may use the longest of their time limits first.
fn is_stalled(stands: Duration, longest: Duration) -> bool {
    stands >= longest.saturating_add(STANDSTILL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_handler_is_no_standstill() {
        for (seconds, longest, expect) in [
            (7, 0, false),
            (8, 0, true),
            (37, 30, false),
            (38, 30, true),
            (187, 180, false),
            (188, 180, true),
        ] {
            let [stands, limit] = [seconds, longest].map(Duration::from_secs);
            assert_eq!(
                is_stalled(stands, limit),
                expect,
                "is {seconds} s without progress a standstill if a handler may run for {longest} s?"
            );
        }
    }
}
