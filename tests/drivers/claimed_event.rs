//! Builds the event that a handler gets, for tests that call a handler without a worker.

use hookbox_event::{Envelope, EventNumber};
use hookbox_worker::{Event, Payload};

/// Returns the event of an envelope, in its first round.
pub fn event_of<P: Payload>(envelope: &Envelope, number: EventNumber, attempt: u32) -> Event<P> {
    Event {
        id: envelope.event,
        number,
        receipt: envelope.receipt,
        source: envelope.source.clone(),
        topic: envelope.topic.clone(),
        digest: envelope.digest,
        received_at: envelope.received_at,
        attempt,
        round: 1,
        body: envelope.body.clone(),
        payload: P::of(&envelope.body, None).unwrap(),
    }
}
