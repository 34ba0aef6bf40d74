//! Measures how late a test's process gets to run on a busy machine. A time limit in a test is a
//! promise about the program under test, and not about the machine. So a test extends its limits
//! by the measured lateness.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long the measuring thread sleeps at a time. If the thread wakes after more than twice this
/// time, the excess counts as lateness.
const TICK: Duration = Duration::from_millis(20);

/// How many processes compete for the same processors and have to run one after the other: the
/// program under test, its servers, and the test. Each of them may be as late as the test, so the
/// allowance is this many times the lateness of the test.
const PARTIES: u32 = 3;

/// How much later than planned the measuring thread got to run, in total. A thread measures it
/// until this value is dropped.
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
            "the measuring thread must be stopped when Lateness is dropped"
        );
    }
}
