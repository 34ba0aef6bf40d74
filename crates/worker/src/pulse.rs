//! Notices that this process was stopped for a while, for example by `SIGSTOP` or `docker pause`.
//! Time limits pass meanwhile, although no handler runs.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The longest time between two beats of a process that was not stopped. A beat is due every
/// second, and a busy machine may delay it.
const BEAT_MAX: Duration = Duration::from_secs(5);

/// The last beat of this process, and how often the process was stopped.
pub(crate) struct Pulse(Mutex<State>);

struct State {
    last: Instant,
    stops: u64,
}

impl Pulse {
    pub fn new(now: Instant) -> Self {
        let state = State {
            last: now,
            stops: 0,
        };
        Self(Mutex::new(state))
    }

    /// Records that the process runs, and returns how often it was stopped so far.
    pub fn beat(&self, now: Instant) -> u64 {
        // No code panics while it holds this lock, so a poisoned lock is safe to use.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_duration_since(state.last) > BEAT_MAX {
            state.stops += 1;
        }
        state.last = state.last.max(now);
        state.stops
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_long_gap_is_a_stop() {
        let began = Instant::now();
        let pulse = Pulse::new(began);
        for (seconds, expect) in [
            (1, 0),
            (6, 0),
            (12, 1),
            (12, 1),
            (11, 1),
            (17, 1),
            (60, 2),
            (61, 2),
        ] {
            let stops = pulse.beat(began + Duration::from_secs(seconds));
            assert_eq!(stops, expect, "after {seconds} s");
        }
    }
}
