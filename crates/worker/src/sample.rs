//! Sample events, for the tests of handlers.

use bytes::Bytes;
use hookbox_event::{
    ContentDigest, Digester, Envelope, EventId, EventNumber, InstanceId, JsonError, ReceiptId,
    SourceName, Timestamp, Topic, scan,
};

use crate::Event;

/// When a sample was received: 2026-01-01T00:00:00Z. A fixed time makes tests repeatable.
const RECEIVED_AT: Timestamp = Timestamp::from_unix_micros(1_767_225_600_000_000);

/// A request for the tests of a handler, as if an ingest had accepted it.
///
/// ```
/// # use hookbox_worker::Sample;
/// let sample = Sample::new(r#"{"invoice":"2026-0001","amount":"12.50"}"#);
/// let sample = sample.of(&"billing".parse()?, "invoice.paid");
/// # Ok::<(), hookbox_event::InvalidName>(())
/// ```
///
/// `Debug` does not show the body.
#[derive(Clone)]
pub struct Sample {
    body: Bytes,
    source: SourceName,
    topic: Topic,
    received_at: Timestamp,
}

impl Sample {
    /// Creates a sample with this body, of the source `sample` and the topic `sample.event`.
    pub fn new(body: impl Into<Bytes>) -> Self {
        let source: SourceName = "sample"
            .parse()
            .expect("the name of the source must be valid");
        let topic = Topic::of(&source, Some("event"));
        Self {
            body: body.into(),
            source,
            topic,
            received_at: RECEIVED_AT,
        }
    }

    /// Returns the same sample of another source and with another event type.
    #[must_use]
    pub fn of(mut self, source: &SourceName, event_type: &str) -> Self {
        self.topic = Topic::of(source, Some(event_type));
        self.source = source.clone();
        self
    }

    /// Returns the same sample with another time at which it was received.
    #[must_use]
    pub fn received_at(mut self, at: Timestamp) -> Self {
        self.received_at = at;
        self
    }

    /// Makes the envelope of the sample, as an ingest does. `number` is the sequence number. It
    /// distinguishes the samples of a test, because the event id and the receipt id are made from
    /// it.
    pub fn envelope(&self, number: u64) -> Result<Envelope, JsonError> {
        let document = scan(&self.body, &[])?;
        let digest = ContentDigest::of_canonical_json(&Digester::Plain, &document.canonical);
        Ok(self.with_digest(digest, number))
    }

    fn with_digest(&self, digest: ContentDigest, number: u64) -> Envelope {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        let name = ContentDigest::of_raw_body(&Digester::Plain, &number.to_be_bytes());
        Envelope {
            receipt: ReceiptId::new(self.received_at, random),
            topic: self.topic.clone(),
            event: EventId::from_digest(&Digester::Plain, &self.source, &name),
            id_tail: None,
            digest,
            source: self.source.clone(),
            received_at: self.received_at,
            key_id: "sample".to_owned(),
            instance: InstanceId::new(self.received_at, [0; 10]),
            number,
            seal: None,
            traceparent: None,
            redo: None,
            body: self.body.clone(),
        }
    }
}

impl From<&str> for Sample {
    fn from(body: &str) -> Self {
        Self::new(body.to_owned())
    }
}

impl From<&Sample> for Sample {
    fn from(sample: &Sample) -> Self {
        sample.clone()
    }
}

impl std::fmt::Debug for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sample")
            .field("topic", &self.topic)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl<P> Event<P> {
    /// Returns an event with this payload, for a test that calls a handler itself. Its body is
    /// `null`; the test may set the other fields. [`crate::rehearse`] also tests that the payload
    /// is made from the body.
    pub fn sample(payload: P) -> Self {
        let sample = Sample::new("null");
        let digest = ContentDigest::of_canonical_json(&Digester::Plain, b"null");
        let envelope = sample.with_digest(digest, 0);
        Event::of(&envelope, EventNumber::from_i64(0), (1, 1), payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_differ_by_their_numbers() {
        let sample = Sample::from(r#"{"a":1}"#);
        let [first, second] =
            [1, 2].map(|number| sample.envelope(number).expect("the body must be JSON"));
        assert_ne!(first.event, second.event);
        assert_ne!(first.receipt, second.receipt);
        assert_eq!(first.digest, second.digest);
        assert_eq!(first.topic.as_str(), "sample.event");
        let source = "billing".parse().expect("the name must be valid");
        let other = sample
            .of(&source, "invoice.paid")
            .envelope(1)
            .expect("the body must be JSON");
        assert_eq!(other.topic.as_str(), "billing.invoice.paid");
        assert_eq!(other.source, source);
        assert!(Sample::from("{").envelope(1).is_err());
        let event = Event::sample(7);
        assert_eq!((event.payload, event.attempt), (7, 1));
        assert_eq!(&event.body[..], b"null");
    }
}
