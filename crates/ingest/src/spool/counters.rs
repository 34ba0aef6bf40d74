//! What a spool has done since the start of its process.

use std::sync::atomic::AtomicU64;

/// The counters of a spool. Apart from metrics, they are read only to see how fast it empties.
#[derive(Debug, Default)]
pub struct SpoolCounters {
    /// Events in it, each once for every route, as far as known.
    pub events: AtomicU64,
    /// Those of them that the broker refuses by themselves.
    pub refused: AtomicU64,
    /// Events that were spooled.
    pub kept: AtomicU64,
    /// Events that were forwarded.
    pub forwarded: AtomicU64,
}
