//! The pause of a route by an operator, as metrics and readiness show it.

use std::sync::{Mutex, PoisonError};

use hookbox_driver::RoutePause;

/// The pause of a route by an operator; `None` while the route is not paused.
#[derive(Debug, Default)]
pub(crate) struct OperatorPause(Mutex<Option<RoutePause>>);

impl OperatorPause {
    pub fn set(&self, pause: Option<&RoutePause>) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if shown.as_ref() != pause {
            *shown = pause.cloned();
        }
    }

    pub fn get(&self) -> Option<RoutePause> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }
}
