//! How many transactions a route may run at once, and the permit for one of them.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The permits for the transactions that a route may run at once, as an operator has limited them.
pub(crate) struct Slots {
    /// As many permits as the config allows. All periods of a route share them.
    all: Arc<Semaphore>,
    /// As many permits as the operator allows. A transaction that has not ended when an operator
    /// changes the limits holds none of the new ones. Otherwise a handler that can never be stopped
    /// could take up the only one.
    limited: Arc<Semaphore>,
}

/// The permit for one of the transactions that a route may run at once. It is held until it is
/// released or dropped.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<[OwnedSemaphorePermit; 2]>>);

impl Slots {
    /// Returns those of `all` permits of a route that an operator allows.
    pub fn new(all: &Arc<Semaphore>, concurrency: NonZeroUsize) -> Self {
        Self {
            all: Arc::clone(all),
            limited: Arc::new(Semaphore::new(concurrency.get())),
        }
    }

    /// Waits until another transaction may run. `None` means that a semaphore is closed, which
    /// never happens.
    pub async fn acquire(&self) -> Option<Slot> {
        let limited = Arc::clone(&self.limited).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Slot(Mutex::new(Some([limited, all]))))
    }
}

impl Slot {
    /// Gives the permit back, so that another transaction of the route may start.
    pub fn release(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
