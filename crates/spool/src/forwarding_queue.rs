//! The state of forwarding one route out of the spool, shared by its forwarder and by new
//! publishes.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Semaphore;

/// How many messages must leave the spool for each new one while the broker takes them, so that the
/// spool empties under any load.
const OUT_FOR_ONE_IN: u32 = 2;

/// The most forwarded messages that are credited to new ones, so that an idle period allows no
/// burst.
const SAVED_MAX: usize = 16;

/// The state of one forwarding queue.
pub(super) struct ForwardingQueue {
    /// Whether messages are being forwarded and more are left.
    moves: AtomicBool,
    /// Whether the broker did not take the last message that was tried.
    is_held_up: AtomicBool,
    /// Messages that have left the spool and for which no new one was let in yet.
    left: Semaphore,
    refused_messages: AtomicU64,
    refused_events: AtomicU64,
}

impl Default for ForwardingQueue {
    fn default() -> Self {
        Self {
            moves: AtomicBool::new(false),
            is_held_up: AtomicBool::new(false),
            left: Semaphore::new(SAVED_MAX),
            refused_messages: AtomicU64::new(0),
            refused_events: AtomicU64::new(0),
        }
    }
}

impl ForwardingQueue {
    /// Waits until enough messages have left the spool to let one new message in.
    pub async fn make_room(&self) {
        if self.moves.load(Ordering::SeqCst)
            && let Ok(left) = self.left.acquire_many(OUT_FOR_ONE_IN).await
        {
            left.forget();
        }
    }

    /// Records that so many messages have left the spool.
    pub fn moved(&self, messages: usize) {
        self.is_held_up.store(false, Ordering::SeqCst);
        self.moves.store(true, Ordering::SeqCst);
        self.save(messages);
    }

    /// Records that nothing is left to forward for now.
    pub fn rests(&self) {
        self.is_held_up.store(false, Ordering::SeqCst);
        self.stands();
    }

    /// Records that the broker did not take the last message.
    pub fn holds(&self) {
        self.is_held_up.store(true, Ordering::SeqCst);
        self.stands();
    }

    pub fn is_held_up(&self) -> bool {
        self.is_held_up.load(Ordering::SeqCst)
    }

    /// Returns how many messages, and how many events in them, the broker refuses while it takes
    /// others.
    pub fn refused(&self) -> (u64, u64) {
        let messages = self.refused_messages.load(Ordering::SeqCst);
        (messages, self.refused_events.load(Ordering::SeqCst))
    }

    pub fn record_refused(&self, messages: usize, events: usize) {
        let (messages, events) = (messages as u64, events as u64);
        self.refused_messages.store(messages, Ordering::SeqCst);
        self.refused_events.store(events, Ordering::SeqCst);
    }

    fn stands(&self) {
        self.moves.store(false, Ordering::SeqCst);
        // New messages that wait already must not wait for a queue that does not move.
        self.save(SAVED_MAX);
    }

    fn save(&self, messages: usize) {
        let room = SAVED_MAX.saturating_sub(self.left.available_permits());
        self.left.add_permits(messages.min(room));
    }
}
