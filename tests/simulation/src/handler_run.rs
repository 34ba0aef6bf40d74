//! One run of a handler, and which later run of the same task repeats it.

use bytes::Bytes;

use hookbox_event::{EventId, RouteName};

/// One run of a handler.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HandlerRun {
    pub on: (RouteName, EventId),
    pub body: Bytes,
    pub attempt: u32,
}

impl HandlerRun {
    /// Returns whether a later run repeats this one.
    pub fn is_repeated_by(&self, later: &Self, id_decides: bool) -> bool {
        self.attempt == later.attempt && self.is_of(&later.on, &later.body, id_decides)
    }

    /// Returns whether this was a run of the event with this body. A body stays itself when it
    /// becomes an event of its own. Another body of the same event id is another event, except
    /// where the id decides: there all bodies of an event id are one event.
    pub fn is_of(&self, on: &(RouteName, EventId), body: &Bytes, id_decides: bool) -> bool {
        let is_same = self.body == *body || (id_decides && self.on.1 == on.1);
        self.on.0 == on.0 && is_same
    }
}
