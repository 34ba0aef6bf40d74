//! What a check counted.

/// What was checked, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Requests made.
    pub attempts: u64,
    /// Requests answered 200.
    pub accepted: u64,
    /// Requests that were answered otherwise, or not at all.
    pub unanswered: u64,
    /// Effects found.
    pub effects: u64,
    /// Dead letters found.
    pub dead: u64,
    /// Answered 200 and not in the store.
    pub lost: u64,
    /// Events with more than one effect.
    pub doubled: u64,
    /// Events with an effect and without any answer: stored before the answer was sent.
    pub stored_unanswered: u64,
}

impl Figures {
    /// Both together.
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
