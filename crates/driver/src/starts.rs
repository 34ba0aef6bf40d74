//! The counts of handler starts, by which an event that ends its process is detected.

use hookbox_event::{Envelope, ReceiptId};

/// The key under which handler starts are counted. An event id alone would be too wide, because one
/// body of the event may end a process and another body may not. A receipt alone would be too wide
/// as well: a late copy of the first message runs no handler, and a process that survives this copy
/// must not clear a retry or replay of suspicion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Start {
    /// The receipt with which the event arrived.
    pub receipt: ReceiptId,
    /// The number of the attempt that a retry or replay is for; 0 for the first message.
    pub attempt: u32,
}

impl Start {
    /// Returns the key for the handler's start on this envelope.
    pub fn of(envelope: &Envelope) -> Self {
        Self {
            receipt: envelope.receipt,
            attempt: envelope.redo.map_or(0, |redo| redo.attempt),
        }
    }
}

/// The circumstances in the process under which a handler is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartKind {
    /// Other handlers run in the same process at the same time.
    Shared,
    /// No other handler runs in the process, and the process has completed another event before, so
    /// it is known to work.
    Isolated,
    /// No other handler runs in the process, and the process has completed no event yet. If the
    /// process ends, the cause may be anything.
    Unproven,
}

impl StartKind {
    /// Returns what one start of this kind adds to [`StartCounts::isolated`] and to
    /// [`StartCounts::unproven`].
    pub fn adds(self) -> (u32, u32) {
        match self {
            Self::Shared => (0, 0),
            Self::Isolated => (1, 0),
            Self::Unproven => (0, 1),
        }
    }
}

/// A handler start that a process has asked the store to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedStart {
    /// The kind of the start.
    pub kind: StartKind,
    /// Whether the store has confirmed that it counted the start; without a reply, it may or may
    /// not have.
    pub is_certain: bool,
}

/// The counts of handler starts after which no process has reported that it is still alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StartCounts {
    /// The number of all such starts.
    pub all: u32,
    /// The number of starts of the kind [`StartKind::Isolated`].
    pub isolated: u32,
    /// The number of starts of the kind [`StartKind::Unproven`].
    pub unproven: u32,
}

impl StartCounts {
    /// Adds one start to these counts, as a store does.
    pub fn count(&mut self, kind: StartKind) {
        let (isolated, unproven) = kind.adds();
        self.all = self.all.saturating_add(1);
        self.isolated = self.isolated.saturating_add(isolated);
        self.unproven = self.unproven.saturating_add(unproven);
    }

    /// Subtracts one start from these counts, as a store does.
    pub fn retract(&mut self, kind: StartKind) {
        let (isolated, unproven) = kind.adds();
        self.all = self.all.saturating_sub(1);
        self.isolated = self.isolated.saturating_sub(isolated);
        self.unproven = self.unproven.saturating_sub(unproven);
    }

    /// Returns the number of starts during which no other handler ran in the process.
    pub fn alone(self) -> u32 {
        self.isolated.saturating_add(self.unproven)
    }
}
