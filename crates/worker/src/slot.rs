//! A place among the transactions that a route runs at once.

use std::sync::{Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

/// One of the transactions that a route runs at once, until it is released or dropped.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<OwnedSemaphorePermit>>);

impl Slot {
    pub fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Mutex::new(Some(permit)))
    }

    /// Lets another transaction of the route start.
    pub fn release(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
