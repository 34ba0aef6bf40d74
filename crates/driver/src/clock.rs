//! The current time as an argument, so that tests control it.

use hookbox_event::Timestamp;

/// A clock that returns the time of day. Only latency, signature time checks and display depend on
/// this clock; the store's own clock decides what is due and how long a lease lasts.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}
