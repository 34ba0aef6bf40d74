//! Time as an argument, so that tests own it.

use hookbox_event::Timestamp;

/// The time of day. Only latency, signature time checks and display depend on it: what is
/// due and what is leased is decided by the store's own clock.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Timestamp;
}
