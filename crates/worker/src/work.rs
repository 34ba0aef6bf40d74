//! What to do with the events that a transaction claims.

use hookbox_driver::{DeadReason, Store};

use crate::{Registered, Route};

/// What to do with the events that a transaction claims.
pub(crate) enum Work<'a, S: Store> {
    /// Run the handler of the route.
    Handle {
        route: &'a Route<S>,
        handler: &'a Registered<S>,
    },
    /// Store the events as dead letters without running a handler.
    GiveUp { reason: DeadReason, detail: &'a str },
}

impl<S: Store> Clone for Work<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

// `derive(Copy)` would require that the store is `Copy`, but `Work` only holds references.
impl<S: Store> Copy for Work<'_, S> {}
