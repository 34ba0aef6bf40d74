//! Counts what a spool has done since the start of its process.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of a spool. They are for metrics; the code reads them only to see how fast the
/// spool empties.
#[derive(Debug, Default)]
pub struct SpoolCounters {
    /// Events in the spool, as far as known. An event for several routes counts once for each.
    pub events: AtomicU64,
    /// Events in the spool that the broker refuses while it takes others.
    pub refused: AtomicU64,
    /// Events that were spooled.
    pub kept: AtomicU64,
    /// Events that were forwarded.
    pub forwarded: AtomicU64,
}

/// Adds to a counter that nothing else depends on.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
