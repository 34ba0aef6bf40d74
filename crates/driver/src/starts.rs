//! Counts of handler starts. They show a worker on which event a handler ends the process.

use hookbox_event::{Envelope, ReceiptId};

/// The key under which handler starts are counted. The key cannot be the event id, because one body
/// of an event may end a process and another body may not. It cannot be the receipt alone either,
/// because the message of a retry or replay has the same receipt as the first message. When a late
/// copy of the first message is delivered, the handler does not run, so the process survives. This
/// must not reset the count of the retry or replay. Therefore the attempt number is a part of the
/// key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Start {
    /// The receipt with which the event arrived.
    pub receipt: ReceiptId,
    /// The number of the attempt that a retry or replay requests; 0 for the first message.
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

/// What else runs in the process when a handler is started. If the process then ends, this decides
/// whether the event is the certain cause or only a possible one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StartKind {
    /// Other handlers run in the process at the same time, so any of them may have ended it.
    Shared,
    /// No other handler runs in the process. The process has completed another event before, so it
    /// works, and its end must be caused by this event.
    Isolated,
    /// No other handler runs in the process, but the process has not completed any event yet. If it
    /// ends, the cause may be something other than the event.
    Unproven,
}

impl StartKind {
    /// Returns two numbers: what a start of this kind adds to [`StartCounts::isolated`], and what
    /// it adds to [`StartCounts::unproven`].
    pub fn adds(self) -> (u32, u32) {
        match self {
            Self::Shared => (0, 0),
            Self::Isolated => (1, 0),
            Self::Unproven => (0, 1),
        }
    }
}

/// A handler start that the store was asked to count for a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedStart {
    /// The kind of the start.
    pub kind: StartKind,
    /// Whether the store has confirmed that it counted the start. Without a reply, the store may or
    /// may not have counted it.
    pub is_certain: bool,
}

/// How many handler starts were counted, since a process last reported that it survived a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StartCounts {
    /// The number of starts of all kinds.
    pub all: u32,
    /// The number of starts of the kind [`StartKind::Isolated`].
    pub isolated: u32,
    /// The number of starts of the kind [`StartKind::Unproven`].
    pub unproven: u32,
}

impl StartCounts {
    /// Adds one start, in the same way as a store does.
    pub fn count(&mut self, kind: StartKind) {
        let (isolated, unproven) = kind.adds();
        self.all = self.all.saturating_add(1);
        self.isolated = self.isolated.saturating_add(isolated);
        self.unproven = self.unproven.saturating_add(unproven);
    }

    /// Subtracts one start, in the same way as a store does.
    pub fn retract(&mut self, kind: StartKind) {
        let (isolated, unproven) = kind.adds();
        self.all = self.all.saturating_sub(1);
        self.isolated = self.isolated.saturating_sub(isolated);
        self.unproven = self.unproven.saturating_sub(unproven);
    }

    /// Returns the number of starts of the kinds [`StartKind::Isolated`] and
    /// [`StartKind::Unproven`], in which no other handler ran in the process.
    pub fn alone(self) -> u32 {
        self.isolated.saturating_add(self.unproven)
    }
}
