//! The system's clock.

use std::time::SystemTime;

use hookbox_driver::Clock;
use hookbox_event::Timestamp;

/// The time of day, as the system has it.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // Before 1970 there were no webhooks: a clock that reports such a time is read as the
        // epoch.
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Timestamp::from_unix_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}
