//! What a spool has done since the start of its process.

use std::sync::atomic::{AtomicBool, AtomicU64};

/// The counters of a spool. `spooling` alone decides anything.
#[derive(Debug, Default)]
pub struct SpoolCounters {
    /// Everything that comes is kept, until all that was kept is forwarded.
    pub spooling: AtomicBool,
    /// Events in it, each once for every route, as far as known.
    pub events: AtomicU64,
    /// Events that were kept.
    pub kept: AtomicU64,
    /// Events that were forwarded.
    pub forwarded: AtomicU64,
}
