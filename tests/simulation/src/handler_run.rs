//! One run of a handler, and the rule by which a later run of the same task repeats it.

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

    /// Returns whether this was a run of the event with this body. A conflict keeps its body when
    /// it becomes a separate event with a new id, so that the body is compared. Where the event id
    /// alone decides, all bodies of an event id are one event, so that equal ids suffice.
    pub fn is_of(&self, on: &(RouteName, EventId), body: &Bytes, id_decides: bool) -> bool {
        let is_same = self.body == *body || (id_decides && self.on.1 == on.1);
        self.on.0 == on.0 && is_same
    }
}
