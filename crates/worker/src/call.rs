//! The identity of an external call. An effect gets it beside the event.

use hookbox_event::{EventId, RouteName};

/// One external call.
///
/// The receiver may get several calls for one event, because a process may die before it has
/// recorded how a call ended. `Call::key` is the same in all of them, so that the receiver can
/// recognise the repetition, and `Call::epoch` rises, so that it can recognise an older call that
/// arrives late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The idempotency key. It is the same for every attempt and every epoch. It stays the same
    /// when a dead letter is replayed, because one of the failed calls may have had its effect. It
    /// changes when an event that is done is replayed, because the operator then wants the effect
    /// once more. The key is made of the event, the route and a number that such a replay raises.
    pub key: String,
    /// The number of the call's lease. It is higher than that of every earlier call for the event
    /// on the route.
    pub epoch: u32,
    /// The number of this attempt on the event, counting from 1. A replay does not restart the
    /// count. A call that is repeated because its process died has the same number.
    pub attempt: u32,
    /// The route that makes the call.
    pub route: RouteName,
    /// The W3C trace context of the request with which the event was received, if it had one.
    pub traceparent: Option<String>,
}

impl Call {
    /// Returns the idempotency key of an effect of an event on a route. An event id is 32 hex
    /// digits and an effect is a number, so two different keys never look alike, whatever the
    /// route's name.
    pub(crate) fn key(event: &EventId, route: &RouteName, effect: u32) -> String {
        format!("{event}-{route}-{effect}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_the_event_the_route_and_the_effect() {
        let event = EventId::from_bytes([0xab; 16]);
        let route: RouteName = "crm-2"
            .parse()
            .expect("the name of the route must be valid");
        let key = Call::key(&event, &route, 3);
        assert_eq!(key, "abababababababababababababababab-crm-2-3");
    }
}
