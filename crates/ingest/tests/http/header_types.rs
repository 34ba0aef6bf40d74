//! Tests sources whose providers state the event type or the id of the delivery in unsigned
//! headers. Requests with another delivery id or another type are different events, and so are
//! requests with the same headers and another body.

use hookbox_event::{ContentDigest, Digester, EventId, scan};
use hookbox_signature::Preset;

use crate::client::post;
use crate::world::{World, key, plain_scheme, signature, source};

/// Returns a genuine GitHub request with these unsigned headers.
fn hub(unsigned: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let signed = signature(&Preset::Github.scheme(), &key("hub"), body);
    let headers = [unsigned, &[("x-hub-signature-256", signed.as_str())]].concat();
    post("/hooks/hub", &headers, body)
}

fn membership(delivery: &str, body: &[u8]) -> Vec<u8> {
    let unsigned = [
        ("x-github-event", "membership"),
        ("x-github-delivery", delivery),
    ];
    hub(&unsigned, body)
}

/// Returns a genuine Shopify request with these unsigned headers.
fn shop(unsigned: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let signed = signature(&plain_scheme(), &key("shop"), body);
    let headers = [unsigned, &[("x-plain", signed.as_str())]].concat();
    post("/hooks/shop", &headers, body)
}

fn by_body(name: &str, body: &[u8]) -> EventId {
    let canonical = scan(body, &[]).unwrap().canonical;
    let digest = ContentDigest::of_canonical_json(&Digester::Plain, &canonical);
    EventId::from_digest(&Digester::Plain, &source(name), &digest)
}

/// Sends requests that must be accepted, and returns their topics and event ids in order.
async fn accepted(requests: &[Vec<u8>]) -> (Vec<String>, Vec<EventId>) {
    let world = World::new().await;
    for request in requests {
        let answer = world.ask(request).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let envelopes = world.broker.envelopes();
    let topics = envelopes.iter().map(|one| one.topic.to_string()).collect();
    let events = envelopes.iter().map(|one| one.event).collect();
    world.stop().await;
    (topics, events)
}

const ADDED: &[u8] = br#"{"action":"added","member":{"id":1},"team":{"id":2}}"#;
const REMOVED: &[u8] = br#"{"action":"removed","member":{"id":1},"team":{"id":2}}"#;
const ORDER: &[u8] = br#"{"id":820982911946154500,"total_price":"403.00"}"#;

/// A member is added to a team, removed, and added again. The bodies of the first and the third
/// request are equal. But GitHub gives each of them its own `X-GitHub-Delivery`, so these are
/// different events.
#[tokio::test]
async fn deliveries_with_equal_bodies_are_distinct_events() {
    let (topics, events) = accepted(&[
        membership("d-1", ADDED),
        membership("d-2", REMOVED),
        membership("d-3", ADDED),
        membership("d-4", REMOVED),
        membership("d-5", ADDED),
        // When GitHub redelivers an event, it repeats the delivery id.
        membership("d-5", ADDED),
    ])
    .await;
    assert_eq!(topics[0], "hub.membership.added");
    assert_eq!(topics[1], "hub.membership.removed");
    let mut distinct = events.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 5);
    assert_eq!(
        events[4], events[5],
        "an event that GitHub sends again must keep the event id of the first request"
    );
}

/// One order is created and then paid. Both requests have the same body and differ only in the
/// event type, which is in a header. They must be two events.
#[tokio::test]
async fn a_type_in_a_header_is_part_of_the_event() {
    let (topics, events) = accepted(&[
        shop(&[("x-shopify-topic", "orders/create")], ORDER),
        shop(&[("x-shopify-topic", "orders/paid")], ORDER),
        shop(&[("x-shopify-topic", "orders/paid")], ORDER),
    ])
    .await;
    assert_eq!(topics[..2], ["shop.orders.create", "shop.orders.paid"]);
    assert_ne!(events[0], events[1]);
    assert_eq!(
        events[1], events[2],
        "a retry must have the event id of the first request"
    );
}

/// If an attacker sends a captured body with the delivery id of a genuine request, the two requests
/// must be different events, so that the genuine event is not taken for a duplicate (H12).
#[tokio::test]
async fn a_delivery_id_hides_no_other_event() {
    let (_, events) = accepted(&[
        membership("d-of-another", ADDED),
        membership("d-of-another", REMOVED),
        membership("d-1", ADDED),
    ])
    .await;
    assert_ne!(
        events[0], events[1],
        "two bodies with one delivery id must have different event ids"
    );
    // The delivery id is a part of the event id, although an attacker can change it. So a captured
    // body that is sent again under another delivery id is an event of its own and no duplicate.
    assert_ne!(events[0], events[2]);
}

#[tokio::test]
async fn without_its_headers_an_event_is_identified_by_its_body() {
    let (topics, events) = accepted(&[
        hub(&[], ADDED),
        hub(&[("x-github-delivery", ""), ("x-github-event", "")], ADDED),
        shop(&[], ORDER),
    ])
    .await;
    assert_eq!(topics, ["hub.untyped", "hub.untyped", "shop.untyped"]);
    let body = by_body("hub", ADDED);
    assert_eq!(events, [body, body, by_body("shop", ORDER)]);
}

/// A genuine request is never refused for the content of the header with the event type. Requests
/// with different bytes in that header are different events.
#[tokio::test]
async fn strange_headers_are_kept_apart_by_their_own_bytes() {
    let long = "x".repeat(3_000);
    let strange = [
        "orders/paid",
        // A slash in the header becomes a dot in the topic, so this text gives the same topic as
        // `orders/paid`. The two requests are different events nevertheless.
        "orders.paid",
        "caf\u{e9}",
        "'; drop table events; --",
        "#",
        long.as_str(),
    ];
    let mut requests: Vec<_> = strange
        .iter()
        .map(|text| shop(&[("x-shopify-topic", text)], ORDER))
        .collect();
    let two = [("x-shopify-topic", "orders/paid"), ("x-shopify-topic", "b")];
    requests.push(shop(&two, ORDER));
    // A proxy may join two header lines into one (RFC 9110 §5.3), so this request is the same event
    // as the one before.
    requests.push(shop(&[("x-shopify-topic", "orders/paid, b")], ORDER));
    let (topics, events) = accepted(&requests).await;
    let paid = "shop.orders.paid";
    assert_eq!(topics[..2], [paid, paid]);
    assert!(topics[2..].iter().all(|topic| topic == "shop.untyped"));
    let mut distinct = events.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), strange.len() + 1);
    assert_eq!(events[6], events[7]);
}

/// The topic of this source has two parts: the text of a header, and a text in the body at a JSON
/// pointer. Without a text at the pointer, the topic has the header's text only. Without the
/// header, the topic has neither part.
#[tokio::test]
async fn a_pointer_is_joined_where_it_leads_to_a_text() {
    let push = [("x-github-event", "push"), ("x-github-delivery", "d")];
    let only_body = [("x-github-delivery", "d")];
    let (topics, _) = accepted(&[
        hub(&push, br#"{"action":"opened"}"#),
        hub(&push, br#"{"ref":"main"}"#),
        hub(&push, br#"{"action":7}"#),
        hub(&push, br#"{"action":"a\u0000b"}"#),
        hub(&push, br#"{"action":"a","action":"b"}"#),
        hub(&push, b"no JSON"),
        hub(&only_body, br#"{"action":"opened"}"#),
    ])
    .await;
    let alone = "hub.push";
    let wanted = [
        "hub.push.opened",
        alone,
        alone,
        alone,
        alone,
        alone,
        "hub.untyped",
    ];
    assert_eq!(topics, wanted);
}
