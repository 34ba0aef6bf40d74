//! Places for connections: so many in all, and so many of one address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Limits;

/// All places of one ingest.
pub(crate) struct Places {
    slots: Arc<Semaphore>,
    /// Every slot is taken, and the accept loop waits for one.
    is_full: AtomicBool,
    /// A connection waits that the system lets us not accept, for want of descriptors say.
    is_refused: AtomicBool,
    per_address_max: usize,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// The place of a connection that is not accepted yet; given back when dropped.
pub(crate) type Slot = Option<OwnedSemaphorePermit>;

/// One connection's place; given back when dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
    _slot: Slot,
}

impl Places {
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            slots: Arc::new(Semaphore::new(limits.connections_max)),
            is_full: AtomicBool::new(false),
            is_refused: AtomicBool::new(false),
            per_address_max: limits.connections_per_address_max,
            counts: Mutex::default(),
        })
    }

    /// Waits for a slot.
    pub async fn slot(&self) -> Slot {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(slot);
        }
        self.is_full.store(true, Ordering::Relaxed);
        // The semaphore is never closed.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        self.is_full.store(false, Ordering::Relaxed);
        slot
    }

    /// Whether the last connection could be accepted.
    pub fn accepted(&self, is_accepted: bool) {
        self.is_refused.store(!is_accepted, Ordering::Relaxed);
    }

    /// A connection of this address takes the slot; `None` when the address has too many.
    pub fn enter(self: &Arc<Self>, slot: Slot, address: IpAddr) -> Option<Place> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(address).or_default();
        if *count >= self.per_address_max {
            return None;
        }
        *count += 1;
        Some(Place {
            places: Arc::clone(self),
            address,
            _slot: slot,
        })
    }
}

impl Place {
    /// Whether the next connection, or the next one of this address, finds no place.
    pub fn is_wanted(&self) -> bool {
        let places = &self.places;
        let counts = places.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.get(&self.address).copied().unwrap_or_default();
        count >= places.per_address_max
            || places.is_full.load(Ordering::Relaxed)
            || places.is_refused.load(Ordering::Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let counts = self.places.counts.lock();
        let mut counts = counts.unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
