//! A clock that shows the time that a test gives it.

use std::sync::atomic::{AtomicU64, Ordering};

use hookbox_driver::Clock;
use hookbox_event::Timestamp;
use tokio::time::Instant;

/// A clock that stands still, or that runs with the clock of the runtime. A test may pause the
/// clock of the runtime.
#[derive(Debug)]
pub struct FakeClock {
    shown: Timestamp,
    /// The moment at which the clock showed `shown`; `None` when the clock stands still.
    since: Option<Instant>,
    /// After how many reads the clock panics; 0 for never.
    until_panic: AtomicU64,
}

impl FakeClock {
    /// Returns a clock that always shows this time.
    #[must_use]
    pub fn still(shown: Timestamp) -> Self {
        Self {
            shown,
            since: None,
            until_panic: AtomicU64::new(0),
        }
    }

    /// Returns a clock that showed this time at the moment `since`, and runs.
    #[must_use]
    pub fn running(shown: Timestamp, since: Instant) -> Self {
        Self {
            since: Some(since),
            ..Self::still(shown)
        }
    }

    /// Makes the clock panic once, at the `read`-th read from now.
    pub fn panic_at(&self, read: u64) {
        self.until_panic.store(read, Ordering::SeqCst);
    }

    /// Returns after how many reads the clock panics; 0 when it has panicked already, or was not
    /// set to panic.
    #[must_use]
    pub fn until_panic(&self) -> u64 {
        self.until_panic.load(Ordering::SeqCst)
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        let one_less = |reads: u64| reads.checked_sub(1);
        let (now, old) = (Ordering::SeqCst, Ordering::SeqCst);
        let before = self.until_panic.fetch_update(now, old, one_less);
        assert_ne!(before, Ok(1), "the clock panics because the test set it to");
        let passed = self.since.map(|since| since.elapsed());
        self.shown.saturating_add(passed.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
