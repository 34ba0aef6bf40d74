//! Counts what a spool has done since the start of its process.

use std::sync::atomic::{AtomicU64, Ordering};

/// The counters of a spool, for metrics. The code itself reads them only to see whether the spool
/// is empty and how fast it empties.
#[derive(Debug, Default)]
pub struct SpoolCounters {
    /// The number of events in the spool when they were last counted. An event for several routes
    /// counts once for each route.
    pub events: AtomicU64,
    /// Events in the spool that the broker refuses while it takes other events of the same route.
    pub refused: AtomicU64,
    /// Events that were put into the spool since the start of the process.
    pub kept: AtomicU64,
    /// Events that were forwarded from the spool to the broker since the start of the process.
    pub forwarded: AtomicU64,
}

/// Adds to a counter. The memory ordering is relaxed, because the counter guards no other data.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}
