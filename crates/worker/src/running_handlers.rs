//! The runs of a route's handler, or its external calls, that have not ended, with their time
//! limits.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The runs of a route's handler, or its external calls, that have not ended. A run may be on
/// several events.
#[derive(Debug, Default)]
pub struct RunningHandlers {
    /// The time limits of the runs. There are only as many as the route may have transactions or
    /// calls at once, so a list is enough.
    limits: Mutex<Vec<Duration>>,
}

/// A run that has not ended. It ends when this value is dropped.
pub(crate) struct RunningHandler<'a> {
    all: &'a RunningHandlers,
    limit: Duration,
}

impl RunningHandlers {
    /// Adds a run with this time limit.
    pub(crate) fn start(&self, limit: Duration) -> RunningHandler<'_> {
        self.limits().push(limit);
        RunningHandler { all: self, limit }
    }

    /// Returns the number of runs.
    pub fn count(&self) -> usize {
        self.limits().len()
    }

    /// Returns the time limit of the run that may take longest; zero if none runs.
    pub(crate) fn longest(&self) -> Duration {
        self.limits().iter().copied().max().unwrap_or_default()
    }

    fn limits(&self) -> MutexGuard<'_, Vec<Duration>> {
        // No code panics while it holds this lock, so the list is never left half-changed.
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RunningHandler<'_> {
    fn drop(&mut self) {
        let mut limits = self.all.limits();
        if let Some(at) = limits.iter().position(|limit| *limit == self.limit) {
            limits.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_limit_is_that_of_a_run_that_has_not_ended() {
        let running = RunningHandlers::default();
        let [short, long] = [30, 180].map(Duration::from_secs);
        assert_eq!(running.longest(), Duration::ZERO);
        let first = running.start(short);
        let second = running.start(long);
        let third = running.start(short);
        assert_eq!((running.count(), running.longest()), (3, long));
        drop(second);
        assert_eq!((running.count(), running.longest()), (2, short));
        drop(first);
        assert_eq!((running.count(), running.longest()), (1, short));
        drop(third);
        assert_eq!((running.count(), running.longest()), (0, Duration::ZERO));
    }
}
