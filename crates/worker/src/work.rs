//! What to do with the events that a transaction claims.

use std::time::Duration;

use hookbox_driver::{DeadReason, Store};

use crate::{Registered, Route};

/// What to do with the events that a transaction claims.
pub(crate) enum Work<'a, S: Store> {
    /// Run the handler of the route.
    Handle {
        route: &'a Route<S>,
        handler: &'a Registered<S>,
        /// Whether the handler may run now. If not, the events are brought only to such outcomes
        /// as need no run, and an event that needs one is a fault.
        may_run: bool,
    },
    /// Store the events as dead letters without running a handler.
    GiveUp { reason: DeadReason, detail: &'a str },
}

impl<S: Store> Work<'_, S> {
    /// Returns the same work, in which the handler may not run.
    pub fn without_run(self) -> Self {
        match self {
            Work::Handle { route, handler, .. } => Work::Handle {
                route,
                handler,
                may_run: false,
            },
            Work::GiveUp { .. } => self,
        }
    }

    /// Returns whether a handler may run.
    pub fn may_run(&self) -> bool {
        match self {
            Work::Handle { may_run, .. } => *may_run,
            Work::GiveUp { .. } => false,
        }
    }

    /// Returns how long handlers may run on this number of events, one after another.
    pub fn may_take(&self, events: usize) -> Duration {
        match self {
            Work::Handle { route, .. } => {
                let events = u32::try_from(events).unwrap_or(u32::MAX);
                route.time_limit.saturating_mul(events)
            }
            Work::GiveUp { .. } => Duration::ZERO,
        }
    }
}

impl<S: Store> Clone for Work<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

// `derive(Copy)` would require that the store is `Copy`, but `Work` only holds references.
impl<S: Store> Copy for Work<'_, S> {}
