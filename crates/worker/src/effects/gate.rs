//! What this worker knows about whether calls may be made to the target of a route.
//!
//! The store decides this for all workers, each time a worker requests leases. A worker remembers
//! the decision only to save useless work: while no calls may be made, it has no subscription to
//! the route's queue. So the messages stay in the queue. Other workers of the same route wait in
//! the same way.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hookbox_driver::{DeferReason, NoPermit};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The longest pause for which events wait in memory, with their messages unacknowledged. A rate
/// limit causes pauses no longer than the time between two calls at that rate, mostly less than a
/// second. If the pause is longer, the events wait in the store, where a restart of this process
/// does not matter.
const WAIT_IN_MEMORY_MAX: Duration = Duration::from_secs(15);

/// Whether calls may be made to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    /// Calls may be made to the target.
    Made,
    /// A stop is over, and no call since then was answered yet. The breaker may permit one call at
    /// a time.
    Probing,
    /// No calls may be made to the target, for this reason.
    Stopped(Stop),
}

/// Why no calls may be made, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stop {
    pub until: Instant,
    /// The reason with which events are deferred meanwhile.
    pub reason: DeferReason,
    pub cause: StopCause,
}

/// What a stop comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopCause {
    /// The target was not reached, so its breaker is open.
    Fault,
    /// The target asked for a pause.
    Pause,
    /// A limit of the config, or a busy key.
    Limit,
}

/// Whether calls may be made to the target of one route, as far as this worker knows. All its work
/// on the route shares this value.
#[derive(Debug)]
pub(crate) struct Gate {
    calls: Mutex<Calls>,
    /// Notified whenever `calls` has changed.
    changed: Notify,
}

impl Stop {
    /// Returns the stop that follows when the store refuses leases for the reason `why`. Returns
    /// `None` if the events are to wait in memory instead.
    pub fn of(why: NoPermit) -> Option<Self> {
        use DeferReason::{RateLimit, TargetClosed};
        let (pause, reason, cause) = match why {
            NoPermit::Open(pause) => (pause, TargetClosed, StopCause::Fault),
            NoPermit::Wait(pause) if pause > WAIT_IN_MEMORY_MAX => {
                (pause, TargetClosed, StopCause::Pause)
            }
            NoPermit::Rate(pause) if pause > WAIT_IN_MEMORY_MAX => {
                (pause, RateLimit, StopCause::Limit)
            }
            NoPermit::Rate(_) | NoPermit::Wait(_) | NoPermit::Busy => return None,
        };
        Some(Self {
            until: Instant::now() + pause,
            reason,
            cause,
        })
    }

    /// Returns the stop for the events of a key for which another call is in flight. It is not
    /// known when that call ends, so the stop names the present time as its end.
    pub fn of_key() -> Self {
        Self {
            until: Instant::now(),
            reason: DeferReason::Leased,
            cause: StopCause::Limit,
        }
    }
}

impl Gate {
    pub fn new() -> Self {
        Self {
            calls: Mutex::new(Calls::Made),
            changed: Notify::new(),
        }
    }

    pub fn calls(&self) -> Calls {
        *self.lock()
    }

    /// Notes that no calls may be made.
    pub fn stop(&self, stop: Stop) {
        self.set(|before| match before {
            Calls::Stopped(earlier) if earlier.until >= stop.until => before,
            Calls::Made | Calls::Probing | Calls::Stopped(_) => Calls::Stopped(stop),
        });
    }

    /// Notes that calls may be made again, and returns the new state, which is never a stop. The
    /// caller must use the returned state. If it read the state later, another task could have
    /// noted a stop in between, and the caller would not notice when that stop ends.
    pub fn resume(&self) -> Calls {
        let next = |before: Calls| match before {
            Calls::Stopped(_) => Calls::Probing,
            Calls::Made | Calls::Probing => before,
        };
        next(self.set(next))
    }

    /// Notes that a call was answered. Returns whether the target was probed until now.
    pub fn answered(&self) -> bool {
        self.set(|before| match before {
            Calls::Probing => Calls::Made,
            // If no calls may be made, this call began before the stop. Its answer does not end the
            // stop.
            Calls::Made | Calls::Stopped(_) => before,
        }) == Calls::Probing
    }

    /// Waits until the state is one for which `holds` returns true.
    pub async fn until(&self, holds: impl Fn(Calls) -> bool + Send) {
        loop {
            // The future is made before the state is read, so that no change is missed.
            let changed = self.changed.notified();
            if holds(self.calls()) {
                return;
            }
            changed.await;
        }
    }

    /// Waits until no calls may be made, and returns the stop.
    pub async fn stopped(&self) -> Stop {
        loop {
            let changed = self.changed.notified();
            if let Calls::Stopped(stop) = self.calls() {
                return stop;
            }
            changed.await;
        }
    }

    /// Changes the state, and returns the previous state.
    fn set(&self, next: impl FnOnce(Calls) -> Calls) -> Calls {
        let mut calls = self.lock();
        let before = *calls;
        *calls = next(before);
        let is_changed = *calls != before;
        drop(calls);
        if is_changed {
            self.changed.notify_waiters();
        }
        before
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_short_pause_is_no_stop() {
        assert_eq!(Stop::of(NoPermit::Busy), None);
        assert_eq!(Stop::of(NoPermit::Wait(WAIT_IN_MEMORY_MAX)), None);
        assert_eq!(Stop::of(NoPermit::Rate(WAIT_IN_MEMORY_MAX)), None);
        let stop = |why| Stop::of(why).map(|stop| (stop.reason, stop.cause));
        let long = WAIT_IN_MEMORY_MAX + SECOND;
        let closed = DeferReason::TargetClosed;
        let pause = Some((closed, StopCause::Pause));
        assert_eq!(stop(NoPermit::Wait(long)), pause);
        assert_eq!(
            stop(NoPermit::Rate(long)),
            Some((DeferReason::RateLimit, StopCause::Limit))
        );
        let fault = Some((closed, StopCause::Fault));
        assert_eq!(stop(NoPermit::Open(SECOND)), fault);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_stop_the_target_is_probed_until_it_answers() {
        let gate = Gate::new();
        let stop = |seconds| Stop {
            until: Instant::now() + seconds * SECOND,
            reason: DeferReason::TargetClosed,
            cause: StopCause::Fault,
        };
        assert!(!gate.answered());
        assert_eq!(gate.resume(), Calls::Made);
        gate.stop(stop(5));
        assert!(!gate.answered());
        gate.stop(stop(3));
        assert_eq!(gate.calls(), Calls::Stopped(stop(5)));
        assert_eq!(gate.resume(), Calls::Probing);
        assert_eq!(gate.calls(), Calls::Probing);
        gate.stop(stop(9));
        assert_eq!(gate.stopped().await, stop(9));
        assert_eq!(gate.resume(), Calls::Probing);
        let answer = async { gate.answered() };
        let (_, is_first) = tokio::join!(gate.until(|calls| calls == Calls::Made), answer);
        assert!(is_first);
    }
}
