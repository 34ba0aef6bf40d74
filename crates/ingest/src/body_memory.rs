//! Limits the memory for bodies: in total, for large bodies, and for the unverified bodies of one
//! address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Limits;
use crate::address_block::AddressBlock;

/// The memory for all bodies that one ingest reads or publishes at the moment.
pub(crate) struct BodyMemory {
    all_max: usize,
    large_max: usize,
    unverified_max: usize,
    used: Mutex<MemoryUse>,
}

#[derive(Default)]
struct MemoryUse {
    all: usize,
    /// The bytes of all bodies that are larger than [`Limits::SMALL_BODY_MAX`].
    large: usize,
    /// Bytes of unverified bodies by sender. It has entries only for senders with open requests, so
    /// the limit on connections also limits the number of entries.
    unverified: HashMap<AddressBlock, usize>,
}

/// Why a body was given no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// All memory is in use, or the rest is reserved for small bodies.
    Full,
    /// The address of the sender has used its share of the memory.
    AddressFull,
}

/// The memory that one body uses. Dropping this value frees the memory.
pub(crate) struct BodyRoom {
    memory: Arc<BodyMemory>,
    bytes: usize,
    /// The sender that the bytes count against, until the signature of the request is verified.
    sender: Option<AddressBlock>,
}

impl BodyMemory {
    pub fn new(limits: &Limits) -> Arc<Self> {
        let all = limits.body_bytes_in_flight_max;
        Arc::new(Self {
            all_max: all,
            // Both limits are at least the size of the largest allowed body, so that one such body
            // always fits into unused memory, whatever values the config has.
            large_max: (all - all / Limits::SMALL_BODY_RESERVE).max(limits.body_max),
            unverified_max: (all / Limits::ADDRESS_SHARE).max(limits.body_max),
            used: Mutex::default(),
        })
    }

    /// Returns a share of zero bytes for a body of which no byte has arrived yet.
    pub fn room(self: &Arc<Self>, sender: AddressBlock) -> BodyRoom {
        BodyRoom {
            memory: Arc::clone(self),
            bytes: 0,
            sender: Some(sender),
        }
    }

    fn lock(&self) -> MutexGuard<'_, MemoryUse> {
        // No code panics while it holds the lock, so the lock is never poisoned.
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Checks whether a body may grow from `before` to `after` bytes.
    fn check(
        &self,
        used: &MemoryUse,
        (before, after): (usize, usize),
        sender: Option<AddressBlock>,
    ) -> Result<(), NoRoom> {
        let more = after - before;
        let unverified = sender.and_then(|sender| used.unverified.get(&sender));
        if sender.is_some()
            && more
                > self
                    .unverified_max
                    .saturating_sub(*unverified.unwrap_or(&0))
        {
            return Err(NoRoom::AddressFull);
        }
        let larger = large_part(after) - large_part(before);
        if more > self.all_max.saturating_sub(used.all)
            || larger > self.large_max.saturating_sub(used.large)
        {
            return Err(NoRoom::Full);
        }
        Ok(())
    }
}

impl BodyRoom {
    /// Checks whether `bytes` more would fit now, without taking them.
    pub fn check(&self, bytes: usize) -> Result<(), NoRoom> {
        let step = (self.bytes, self.bytes.saturating_add(bytes));
        self.memory.check(&self.memory.lock(), step, self.sender)
    }

    /// Takes `bytes` more of the memory.
    pub fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        if bytes == 0 {
            return Ok(());
        }
        let step = (self.bytes, self.bytes.saturating_add(bytes));
        let mut used = self.memory.lock();
        self.memory.check(&used, step, self.sender)?;
        used.all += bytes;
        used.large += large_part(step.1) - large_part(step.0);
        if let Some(sender) = self.sender {
            *used.unverified.entry(sender).or_default() += bytes;
        }
        self.bytes = step.1;
        Ok(())
    }

    /// Records that the signature is valid: from now on the body no longer counts against the
    /// address of its sender.
    pub fn verified(&mut self) {
        let mut used = self.memory.lock();
        if let Some(sender) = self.sender.take() {
            used.give_back(sender, self.bytes);
        }
    }
}

impl Drop for BodyRoom {
    fn drop(&mut self) {
        let mut used = self.memory.lock();
        used.all -= self.bytes;
        used.large -= large_part(self.bytes);
        if let Some(sender) = self.sender {
            used.give_back(sender, self.bytes);
        }
    }
}

impl MemoryUse {
    fn give_back(&mut self, sender: AddressBlock, bytes: usize) {
        if let Some(held) = self.unverified.get_mut(&sender) {
            *held -= bytes;
            if *held == 0 {
                self.unverified.remove(&sender);
            }
        }
    }
}

/// How many bytes of a body count as large: all of them once it exceeds the size of a small body,
/// otherwise none.
fn large_part(bytes: usize) -> usize {
    if bytes > Limits::SMALL_BODY_MAX {
        bytes
    } else {
        0
    }
}

#[cfg(test)]
mod tests;
