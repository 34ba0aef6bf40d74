//! Starts of handlers, counted so that an event that ends its process is detected.

use hookbox_event::{Envelope, ReceiptId};

/// What a handler is started on. Not an event: one body of it may end a process and another not.
/// And not only a receipt: a copy of its first message runs nothing any more, and surviving that
/// copy clears no retry or replay of the suspicion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Start {
    /// The receipt.
    pub receipt: ReceiptId,
    /// The attempt that a retry or replay is for; 0 for the first message.
    pub attempt: u32,
}

impl Start {
    /// Of the handler on this envelope.
    pub fn of(envelope: &Envelope) -> Self {
        Self {
            receipt: envelope.receipt,
            attempt: envelope.redo.map_or(0, |redo| redo.attempt),
        }
    }
}

/// Under which circumstances a handler is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartKind {
    /// Beside other handlers of its process.
    Shared,
    /// As the only handler of its process, which has completed another event before and so is known
    /// to work.
    Isolated,
    /// As the only handler of a process that has completed nothing yet. Its end may have any
    /// cause.
    Unproven,
}

impl StartKind {
    /// What one such start adds to [`StartCounts::isolated`] and [`StartCounts::unproven`].
    pub fn adds(self) -> (u32, u32) {
        match self {
            Self::Shared => (0, 0),
            Self::Isolated => (1, 0),
            Self::Unproven => (0, 1),
        }
    }
}

/// A start that a process has asked the store to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedStart {
    /// How it was to be counted.
    pub kind: StartKind,
    /// Whether the store has answered that it is counted.
    pub is_certain: bool,
}

/// The starts that were counted and that no process has survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StartCounts {
    /// All of them.
    pub all: u32,
    /// Those of [`StartKind::Isolated`].
    pub isolated: u32,
    /// Those of [`StartKind::Unproven`].
    pub unproven: u32,
}

impl StartCounts {
    /// One start more, as a store counts it.
    pub fn count(&mut self, kind: StartKind) {
        let (isolated, unproven) = kind.adds();
        self.all = self.all.saturating_add(1);
        self.isolated = self.isolated.saturating_add(isolated);
        self.unproven = self.unproven.saturating_add(unproven);
    }

    /// One start less, as a store takes it back.
    pub fn retract(&mut self, kind: StartKind) {
        let (isolated, unproven) = kind.adds();
        self.all = self.all.saturating_sub(1);
        self.isolated = self.isolated.saturating_sub(isolated);
        self.unproven = self.unproven.saturating_sub(unproven);
    }

    /// Those in which no other handler ran in the process.
    pub fn alone(self) -> u32 {
        self.isolated.saturating_add(self.unproven)
    }
}
