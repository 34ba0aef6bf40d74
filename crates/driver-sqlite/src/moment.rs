//! The store's clock. It alone decides which retries are due and how long a lease lasts.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hookbox_event::Timestamp;

/// Returns the present moment in microseconds since the Unix epoch.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Returns the moment that is this long from now.
pub(crate) fn in_(while_: Duration) -> i64 {
    Timestamp::from_unix_micros(now())
        .saturating_add(while_)
        .unix_micros()
}

/// Returns the moment that was this long ago.
pub(crate) fn ago(while_: Duration) -> i64 {
    now().saturating_sub(i64::try_from(while_.as_micros()).unwrap_or(i64::MAX))
}
