//! Measures how late a test's process gets to run. Promises in seconds are about the program under
//! test, not about a machine that is too busy to run it, so a test adds this lateness to its
//! bounds.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The interval at which the measuring thread wants to run.
const TICK: Duration = Duration::from_millis(20);

/// How many processes compete for the same processors and are needed one after the other: the
/// program under test, its servers, and the test. Each may be as late as the test.
const PARTIES: u32 = 3;

/// How late this process got to run so far. A thread measures it until this value is dropped.
#[derive(Debug, Default)]
pub struct Lateness {
    late_ms: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
}

impl Lateness {
    /// Starts to measure.
    #[must_use]
    pub fn measure() -> Self {
        let lateness = Self::default();
        let late_ms = Arc::clone(&lateness.late_ms);
        let is_over = Arc::clone(&lateness.is_over);
        thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let began = Instant::now();
                thread::park_timeout(TICK);
                let late = began.elapsed().saturating_sub(2 * TICK).as_millis();
                let late = u64::try_from(late).unwrap_or(u64::MAX);
                late_ms.fetch_add(late, Ordering::Relaxed);
            }
        });
        lateness
    }

    /// Returns by how much a test must extend a time limit, because the machine was busy.
    #[must_use]
    pub fn allowance(&self) -> Duration {
        PARTIES * Duration::from_millis(self.late_ms.load(Ordering::Relaxed))
    }
}

impl Drop for Lateness {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_it_did_not_run_is_allowed_for_by_every_party() {
        let lateness = Lateness::default();
        assert_eq!(lateness.allowance(), Duration::ZERO);
        lateness.late_ms.store(100, Ordering::Relaxed);
        assert_eq!(lateness.allowance(), Duration::from_millis(300));
        let is_over = Arc::clone(&Lateness::measure().is_over);
        assert!(
            is_over.load(Ordering::Relaxed),
            "the measuring thread is asked to end"
        );
    }
}
