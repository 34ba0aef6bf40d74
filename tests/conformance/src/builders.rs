//! Builders of envelopes for the test cases.

use bytes::Bytes;
use hookbox_event::{
    ContentDigest, Digester, Envelope, EventId, InstanceId, ReceiptId, Scalar, SourceName,
    Timestamp, Topic,
};

/// Builds the first receipt of the event with this name. A receipt is one accepted request that
/// reported the event.
pub fn envelope(event: &str) -> Envelope {
    with_receipt(event, 1)
}

/// Builds a receipt of the event with this name. The number distinguishes the receipts of one
/// event: each of them is one request that reported the event.
pub fn with_receipt(event: &str, receipt: u8) -> Envelope {
    let source: SourceName = "provider".parse().expect("a valid name");
    let id = EventId::from_fields(
        &Digester::Plain,
        &source,
        &[Scalar::String(event.to_owned())],
    );
    let now = Timestamp::from_unix_micros(1_764_000_000_000_000);
    let mut random = [receipt; 10];
    random[1..].copy_from_slice(&id.as_bytes()[..9]);
    let body = format!(r#"{{"event":"{event}"}}"#);
    Envelope {
        receipt: ReceiptId::new(now, random),
        topic: Topic::of(&source, Some("thing.happened")),
        event: id,
        id_tail: None,
        digest: ContentDigest::of_canonical_json(&Digester::Plain, body.as_bytes()),
        source,
        received_at: now,
        key_id: "2026-11".into(),
        instance: InstanceId::new(now, [7; 10]),
        number: number(&id, receipt),
        seal: None,
        traceparent: None,
        redo: None,
        body: Bytes::from(body),
    }
}

/// Returns a sequence number that no other receipt of the same test case has.
fn number(event: &EventId, receipt: u8) -> u64 {
    let mut bytes = [0; 8];
    bytes[3..7].copy_from_slice(&event.as_bytes()[..4]);
    bytes[7] = receipt;
    u64::from_be_bytes(bytes)
}

/// Builds another receipt of the same event, with another body.
pub fn another_body(event: &str, receipt: u8) -> Envelope {
    let mut other = with_receipt(event, receipt);
    other.body = Bytes::from(format!(r#"{{"event":"{event}","other":true}}"#));
    other.digest = ContentDigest::of_canonical_json(&Digester::Plain, &other.body);
    other
}

/// Builds the first receipt of the event `number-N`, where N is this number.
pub fn of_number(number: usize) -> Envelope {
    envelope(&format!("number-{number}"))
}
