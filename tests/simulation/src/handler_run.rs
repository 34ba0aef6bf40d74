//! One run of a handler and its effect, and the rule that decides whether a later run in the same
//! async task repeats it.

use bytes::Bytes;

use hookbox_event::{EventId, RouteName};

/// One run of a handler, with what identifies it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HandlerRun {
    pub on: (RouteName, EventId),
    pub body: Bytes,
    pub attempt: u32,
}

/// One effect of a handler. No key makes effects unique, so that a double effect is visible.
#[derive(Debug, Clone)]
pub(crate) struct Effect {
    pub route: RouteName,
    pub event: EventId,
    pub body: Bytes,
    pub by: String,
    pub attempt: u32,
}

impl HandlerRun {
    /// Returns whether a later run is a repetition of this run.
    pub fn is_repeated_by(&self, later: &Self, id_decides: bool) -> bool {
        self.attempt == later.attempt && self.is_of(&later.on, &later.body, id_decides)
    }

    /// Returns whether this run was for the event `on` with this body. It compares bodies and not
    /// event ids, because the event of a conflict gets a new id but keeps its body. If the event id
    /// alone decides, all bodies with one event id are one event, so equal ids are enough.
    pub fn is_of(&self, on: &(RouteName, EventId), body: &Bytes, id_decides: bool) -> bool {
        let is_same = self.body == *body || (id_decides && self.on.1 == on.1);
        self.on.0 == on.0 && is_same
    }
}
