//! Tests which measure (isolated run or quarantine) follows from which start counts, and how groups
//! of events are planned.

use bytes::Bytes;
use hookbox_event::{ContentDigest, Digester, EventId, InstanceId, ReceiptId, Redo, Timestamp};

use super::*;

fn counts(all: u32, isolated: u32, unproven: u32) -> StartCounts {
    StartCounts {
        all,
        isolated,
        unproven,
    }
}

fn envelope(number: u8) -> Envelope {
    let body = Bytes::from_static(b"{}");
    Envelope {
        receipt: ReceiptId::from_bytes([number; 16]),
        source: "begini".parse().unwrap(),
        topic: "begini.score".parse().unwrap(),
        event: EventId::from_bytes([number; 16]),
        id_tail: None,
        digest: ContentDigest::of_raw_body(&Digester::Plain, &body),
        received_at: Timestamp::from_unix_micros(0),
        key_id: "one".to_owned(),
        instance: InstanceId::from_bytes([1; 16]),
        number: 1,
        seal: None,
        traceparent: None,
        redo: None,
        body,
    }
}

fn numbers<'e>(envelopes: impl IntoIterator<Item = &'e Envelope>) -> Vec<u8> {
    let events = envelopes.into_iter();
    events
        .map(|envelope| envelope.event.as_bytes()[0])
        .collect()
}

#[test]
fn only_deaths_in_isolation_quarantine_an_event() {
    let (proven, unproven) = (Measure::Quarantine(PROVEN), Measure::Quarantine(UNPROVEN));
    for (counts, expect) in [
        (counts(1, 0, 0), Measure::Isolate),
        (counts(99, 0, 0), Measure::Isolate),
        (counts(5, 2, 3), Measure::Isolate),
        (counts(3, 3, 0), proven),
        (counts(9, 0, 9), Measure::Isolate),
        (counts(10, 0, 10), unproven),
        (counts(10, 2, 8), unproven),
        (counts(12, 3, 9), proven),
    ] {
        assert_eq!(measure(counts), expect, "{counts:?}");
    }
}

#[test]
fn a_first_delivery_is_shared_and_not_counted() {
    let events = [envelope(1), envelope(2)];
    let plan = Plan::new(&[&events[0], &events[1]], &[], &[]);
    assert_eq!(numbers(plan.shared), [1, 2]);
    assert!(plan.markers.is_empty() && plan.suspects.is_empty());
}

#[test]
fn redelivered_events_are_counted_and_suspects_are_kept_apart() {
    let events = [1, 2, 3, 4, 5].map(envelope);
    let round: Vec<&Envelope> = events.iter().collect();
    let redelivered = [2, 3, 4, 5].map(|number| Start::of(&envelope(number)));
    let found = [
        counts(0, 0, 0),
        counts(4, 3, 0),
        counts(1, 0, 0),
        counts(2, 1, 0),
    ];
    let plan = Plan::new(&round, &redelivered, &found);
    assert_eq!(numbers(plan.shared), [1, 2]);
    assert_eq!(plan.markers, [Start::of(&envelope(2))]);
    // Suspected events with fewer process deaths in isolation must run first.
    assert_eq!(
        numbers(plan.suspects.iter().map(|it| it.envelope)),
        [4, 5, 3]
    );
    let measures: Vec<Measure> = plan.suspects.iter().map(|it| it.measure).collect();
    let quarantine = Measure::Quarantine(PROVEN);
    assert_eq!(measures, [Measure::Isolate, Measure::Isolate, quarantine]);
}

#[test]
fn a_retry_is_not_suspected_for_the_first_message_of_its_receipt() {
    let retry = Envelope {
        redo: Some(Redo { attempt: 2 }),
        ..envelope(1)
    };
    let first = Start::of(&envelope(1));
    let plan = Plan::new(&[&retry], &[first], &[counts(3, 3, 0)]);
    assert_eq!(numbers(plan.shared), [1]);
    assert!(plan.markers.is_empty() && plan.suspects.is_empty());
}
