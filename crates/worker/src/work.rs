//! What is to be done with the events that a transaction claims.

use hookbox_driver::{DeadReason, Store};

use crate::Route;

/// What is to be done with what was claimed.
pub(crate) enum Work<'a, S: Store> {
    /// Run the route's handler.
    Handle(&'a Route<S>),
    /// Keep it as a dead letter without running anything.
    GiveUp { reason: DeadReason, detail: &'a str },
}

impl<S: Store> Clone for Work<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

// Derived, it would ask the store to be `Copy`, of which only a reference is held.
impl<S: Store> Copy for Work<'_, S> {}
