//! The clock as a trait, so that tests control the time.

use std::time::SystemTime;

use hookbox_event::Timestamp;

/// A clock that returns the time of day. It is used for latencies, for the time check of
/// signatures, and for display. The store's own clock decides what is due and how long a lease
/// lasts.
pub trait Clock: Send + Sync + 'static {
    /// Returns the present moment.
    fn now(&self) -> Timestamp;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A time before 1970 can only come from a wrong clock. It is replaced by the start of 1970.
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Timestamp::from_unix_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}
