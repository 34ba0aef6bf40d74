//! The state of forwarding the messages of one queue out of the spool. The queue's forwarder and
//! new publishes share it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Semaphore;

/// How many messages must leave the spool before one new message may enter it, while the broker
/// takes messages. As this is more than one, the spool empties under any load.
const OUT_FOR_ONE_IN: u32 = 2;

/// The most unused permits for new messages. Each message that leaves the spool adds one permit,
/// and a new message that enters the spool uses [`OUT_FOR_ONE_IN`] of them. Without this limit, the
/// permits that add up while no new messages arrive would let in a burst of new messages.
const SAVED_MAX: usize = 16;

/// The state of forwarding the messages of one queue.
pub(super) struct ForwardingQueue {
    /// Whether messages are being forwarded: the broker took the message that was sent to it most
    /// recently, and the spool has more messages of the queue. New messages wait in
    /// [`ForwardingQueue::make_room`] only while this is true.
    moves: AtomicBool,
    /// Whether the broker did not take the message that was sent to it most recently, or an accept
    /// report waits for the events of a route.
    is_held_up: AtomicBool,
    /// One permit for each message that has left the spool, at most [`SAVED_MAX`]. A new message
    /// that enters the spool uses up [`OUT_FOR_ONE_IN`] permits.
    left: Semaphore,
    /// The number of events that were forwarded since the start of the process.
    forwarded: AtomicU64,
    refused_messages: AtomicU64,
    refused_events: AtomicU64,
}

impl Default for ForwardingQueue {
    fn default() -> Self {
        Self {
            moves: AtomicBool::new(false),
            is_held_up: AtomicBool::new(false),
            left: Semaphore::new(SAVED_MAX),
            forwarded: AtomicU64::new(0),
            refused_messages: AtomicU64::new(0),
            refused_events: AtomicU64::new(0),
        }
    }
}

impl ForwardingQueue {
    /// Waits until [`OUT_FOR_ONE_IN`] messages have left the spool, and uses their permits for one
    /// new message. Does not wait when nothing is being forwarded.
    pub async fn make_room(&self) {
        if self.moves.load(Ordering::SeqCst)
            && let Ok(left) = self.left.acquire_many(OUT_FOR_ONE_IN).await
        {
            left.forget();
        }
    }

    /// Records that the broker took `messages` messages, which have left the spool.
    pub fn moved(&self, messages: usize) {
        self.is_held_up.store(false, Ordering::SeqCst);
        self.moves.store(true, Ordering::SeqCst);
        self.save(messages);
    }

    /// Returns how many events were forwarded since the start of the process.
    pub fn forwarded(&self) -> u64 {
        self.forwarded.load(Ordering::SeqCst)
    }

    /// Counts events that the broker took.
    pub fn count_forwarded(&self, events: u64) {
        self.forwarded.fetch_add(events, Ordering::SeqCst);
    }

    /// Records that the spool has no message of the queue to forward at the moment.
    pub fn rests(&self) {
        self.is_held_up.store(false, Ordering::SeqCst);
        self.stands();
    }

    /// Records that forwarding is held up: the broker did not take the message that was sent to it
    /// most recently, or an accept report waits for the events of a route.
    pub fn holds(&self) {
        self.is_held_up.store(true, Ordering::SeqCst);
        self.stands();
    }

    pub fn is_held_up(&self) -> bool {
        self.is_held_up.load(Ordering::SeqCst)
    }

    /// Returns how many messages of the queue the broker refuses while it takes other messages, and
    /// how many events the refused messages contain.
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
        // Nothing leaves the spool for now, so no permit would be added. The new messages that wait
        // in `make_room` get permits here, so that they can enter the spool.
        self.save(SAVED_MAX);
    }

    fn save(&self, messages: usize) {
        let room = SAVED_MAX.saturating_sub(self.left.available_permits());
        self.left.add_permits(messages.min(room));
    }
}
