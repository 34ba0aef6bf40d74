//! What the checker counts for the requests and the events of a load.

/// The counts that one run of the checker returns.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// The number of requests that were sent.
    pub attempts: u64,
    /// The number of requests that were answered 200.
    pub accepted: u64,
    /// The number of requests that were answered with another status than 200, or not at all.
    pub unanswered: u64,
    /// The number of effects in the store.
    pub effects: u64,
    /// The number of dead letters in the store, except discarded ones.
    pub dead: u64,
    /// The number of events and receipts that were answered 200 and are not in the store.
    pub lost: u64,
    /// The number of events with more than one effect.
    pub doubled: u64,
    /// The number of events that have an effect although the sender got no response. Such an event
    /// was stored, and its response was lost.
    pub stored_unanswered: u64,
}

impl Figures {
    /// Adds the counts of another run of the checker to these.
    pub fn add(&mut self, other: &Figures) {
        self.attempts += other.attempts;
        self.accepted += other.accepted;
        self.unanswered += other.unanswered;
        self.effects += other.effects;
        self.dead += other.dead;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.stored_unanswered += other.stored_unanswered;
    }
}
