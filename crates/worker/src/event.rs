//! One event, as it is given to a handler.

use bytes::Bytes;
use hookbox_event::{
    ContentDigest, Envelope, EventId, EventNumber, ReceiptId, SourceName, Timestamp, Topic,
};

/// One event, as it is given to a handler.
///
/// `Debug` shows neither the body nor the payload.
pub struct Event<P> {
    /// The id of the event. Use it as the idempotency key of what is done outside the transaction.
    pub id: EventId,
    /// The number of the event in the store: the same for every route and every attempt, and higher
    /// for an event that is stored later. If a table of the handler has this number as its key, new
    /// rows are written at the end of its index. With the event id as the key, they are written all
    /// over the index. A rehearsal assigns numbers, too, and rolls them back.
    pub number: EventNumber,
    /// The accepted request in which the event was received.
    pub receipt: ReceiptId,
    /// The source that the event was posted to.
    pub source: SourceName,
    /// The topic of the event.
    pub topic: Topic,
    /// The content digest of the body.
    pub digest: ContentDigest,
    /// When the request was received, by the clock of the ingest.
    pub received_at: Timestamp,
    /// The number of this attempt on the event, counting from 1. A replay does not restart the
    /// count.
    pub attempt: u32,
    /// The round of attempts: 1 until the event is replayed. A replay begins a new round, whose
    /// number is that of its first attempt, so that a later round has a higher number.
    pub round: u32,
    /// The body as it was received.
    pub body: Bytes,
    /// The body, deserialized into the payload type of the handler.
    pub payload: P,
}

impl<P> Event<P> {
    /// Makes the event of an envelope, for the given attempt and round.
    pub(crate) fn of(
        envelope: &Envelope,
        number: EventNumber,
        (attempt, round): (u32, u32),
        payload: P,
    ) -> Self {
        Self {
            id: envelope.event,
            number,
            receipt: envelope.receipt,
            source: envelope.source.clone(),
            topic: envelope.topic.clone(),
            digest: envelope.digest,
            received_at: envelope.received_at,
            attempt,
            round,
            body: envelope.body.clone(),
            payload,
        }
    }

    /// Returns the same event with another payload, which `make` makes from the body and the
    /// current payload.
    pub(crate) fn try_map<Q, E>(
        self,
        make: impl FnOnce(&Bytes, P) -> Result<Q, E>,
    ) -> Result<Event<Q>, E> {
        let payload = make(&self.body, self.payload)?;
        Ok(Event {
            id: self.id,
            number: self.number,
            receipt: self.receipt,
            source: self.source,
            topic: self.topic,
            digest: self.digest,
            received_at: self.received_at,
            attempt: self.attempt,
            round: self.round,
            body: self.body,
            payload,
        })
    }
}

impl<P> std::fmt::Debug for Event<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("id", &self.id)
            .field("topic", &self.topic)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}
