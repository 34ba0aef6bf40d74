//! Detects whether a route's handler lacks rights or objects in the database, for every event or
//! only for a single one.
//!
//! If the database denies something to the handler of an event, the event is deferred, which costs
//! no attempt. If several distinct events are denied in a row and no handler succeeds in between,
//! the cause is the deployment and not an event. Then the route is paused, reports what is
//! missing, and tries one event at a time, at growing intervals, until one succeeds. Events that
//! would have to wait for long until they are tried are deferred without a try.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookbox_event::EventId;
use tokio::sync::MutexGuard as ProbeGuard;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::pause::Stopped;

/// How many distinct events must be denied in a row before the route is paused. If fewer events are
/// denied, something special about these events may be the cause.
const EVENTS: usize = 3;

/// How long a route that was paused waits before it tries the first event. The wait doubles with
/// each further event that is tried.
const FIRST: Duration = Duration::from_secs(1);

/// The longest time between two events that a paused route tries. After a missing right was
/// granted, this is the longest time until the route notices.
const LONGEST: Duration = Duration::from_secs(30);

/// How long a single event may be denied while others succeed. After that, each denial is a failed
/// attempt like any other, so that the event reaches an outcome.
const AGE_MAX: Duration = Duration::from_secs(60 * 60);

/// What is known about the database rights of one route.
#[derive(Debug, Default)]
pub(crate) struct Rights {
    state: Mutex<State>,
    probe: tokio::sync::Mutex<()>,
}

/// Whether an event of the route may run.
#[derive(Debug)]
pub(crate) enum Admission<'a> {
    /// The event runs, because the route is not paused.
    Run,
    /// The event is tried. No other event of the route is tried until this guard is dropped.
    Probe(ProbeGuard<'a, ()>),
    /// The route is paused, and it was not the turn of this event in time.
    Late,
}

#[derive(Debug, Default)]
struct State {
    /// The events that were denied since a handler last succeeded; at most [`EVENTS`].
    denied: HashSet<EventId>,
    /// How many events were tried since the route was paused.
    tries: u32,
    /// Which right or object the database lacks for the handler; `None` unless that has paused the
    /// route.
    missing: Option<String>,
    /// Whether the database rights of the route are known to suffice: a handler has succeeded in
    /// this process, and the route has not been paused since.
    works: bool,
}

impl Rights {
    /// Records that the database denied something to a handler. Returns whether this denial pauses
    /// the route.
    pub fn deny(&self, event: EventId, remedy: Option<&str>) -> bool {
        let mut state = self.state();
        if state.missing.is_some() {
            state.tries = state.tries.saturating_add(1);
            return false;
        }
        state.denied.insert(event);
        if state.denied.len() < EVENTS {
            return false;
        }
        let remedy = remedy.unwrap_or("the database does not say what is missing");
        state.missing = Some(remedy.to_owned());
        (state.works, state.tries) = (false, 0);
        true
    }

    /// Records that a handler has succeeded. Returns whether this success ends the pause of the
    /// route.
    pub fn succeed(&self) -> bool {
        let mut state = self.state();
        state.denied.clear();
        state.works = true;
        state.missing.take().is_some()
    }

    /// Returns for how long an event may be deferred; `None` means without limit. There is a limit
    /// only if a handler has succeeded, which shows that the route has the rights that it needs.
    pub fn age_max(&self) -> Option<Duration> {
        self.state().works.then_some(AGE_MAX)
    }

    /// Returns the right or object whose lack has paused the route; `None` if the route is not
    /// paused.
    pub fn missing(&self) -> Option<String> {
        self.state().missing.clone()
    }

    /// Waits until an event may be tried, which is at once unless the route is paused. The caller
    /// holds the result until that event has its outcome. While other events are tried, the wait
    /// ends at the time `until`. When it is the turn of this event, its own interval follows, even
    /// beyond that time. Otherwise several callers could keep starting their intervals, and no
    /// event would be tried.
    pub async fn admit(
        &self,
        until: Instant,
        shutdown: &CancellationToken,
    ) -> Result<Admission<'_>, Stopped> {
        if self.wait().is_none() {
            return Ok(Admission::Run);
        }
        let probe = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Err(Stopped),
            () = sleep_until(until) => return Ok(Admission::Late),
            probe = self.probe.lock() => probe,
        };
        let Some(wait) = self.wait() else {
            return Ok(Admission::Run);
        };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Err(Stopped),
            () = sleep(wait) => Ok(Admission::Probe(probe)),
        }
    }

    /// Returns how long a paused route waits before it tries the next event; `None` if the route is
    /// not paused.
    fn wait(&self) -> Option<Duration> {
        let state = self.state();
        let doubled = FIRST.saturating_mul(1 << state.tries.min(10));
        state.missing.as_ref().map(|_| doubled.min(LONGEST))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u8) -> EventId {
        EventId::from_bytes([number; 16])
    }

    /// Returns a time that no test reaches.
    fn never() -> Instant {
        Instant::now() + LONGEST * 1_000
    }

    #[test]
    fn three_distinct_events_in_a_row_pause_the_route() {
        let rights = Rights::default();
        for _ in 0..9 {
            assert!(
                !rights.deny(event(1), None),
                "denials of a single event must not pause the route"
            );
        }
        assert!(!rights.deny(event(2), None));
        assert!(
            !rights.succeed(),
            "a success must end no pause, because the route was not paused"
        );
        assert!(
            !rights.deny(event(3), None),
            "the count of denied events must start over after a success"
        );
        assert!(!rights.deny(event(2), None));
        assert_eq!(rights.missing(), None);
        assert!(rights.deny(event(1), Some("GRANT it")));
        assert_eq!(rights.missing().as_deref(), Some("GRANT it"));
        assert!(
            !rights.deny(event(4), None),
            "a denial must not pause a route that is paused already"
        );
        assert!(
            rights.succeed(),
            "a success must end the pause of the route"
        );
        assert_eq!(rights.missing(), None);
    }

    #[test]
    fn a_single_event_is_deferred_for_a_bounded_time() {
        let rights = Rights::default();
        assert_eq!(
            rights.age_max(),
            None,
            "a deferral must have no limit before a handler has succeeded"
        );
        rights.succeed();
        assert_eq!(rights.age_max(), Some(AGE_MAX));
        for number in 0..3 {
            rights.deny(event(number), None);
        }
        assert_eq!(
            rights.age_max(),
            None,
            "a deferral must have no limit while the route is paused"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_paused_route_tries_one_event_at_a_time() {
        let (rights, shutdown) = (Rights::default(), CancellationToken::new());
        let admitted = rights.admit(never(), &shutdown).await;
        assert!(matches!(admitted, Ok(Admission::Run)));
        for number in 0..3 {
            rights.deny(event(number), None);
        }
        let mut waits = Vec::new();
        for _ in 0..7 {
            let began = Instant::now();
            let probe = rights.admit(never(), &shutdown).await;
            assert!(matches!(probe, Ok(Admission::Probe(_))));
            waits.push(began.elapsed().as_secs());
            let other = rights.admit(Instant::now() + LONGEST * 2, &shutdown).await;
            assert!(
                matches!(other, Ok(Admission::Late)),
                "a paused route must not try two events at the same time"
            );
            rights.deny(event(9), None);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        rights.succeed();
        let admitted = rights.admit(never(), &shutdown).await;
        assert!(matches!(admitted, Ok(Admission::Run)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_does_not_wait_for_a_grant() {
        let (rights, shutdown) = (Rights::default(), CancellationToken::new());
        for number in 0..3 {
            rights.deny(event(number), None);
        }
        shutdown.cancel();
        assert!(rights.admit(never(), &shutdown).await.is_err());
    }
}
