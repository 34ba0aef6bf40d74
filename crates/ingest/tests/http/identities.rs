//! Tests the event ids of requests that an attacker can change in part. The attacker sends a
//! captured request again with another delivery id, or chooses ids and types that other programs
//! would interpret as commands.

use hookbox_event::{ContentDigest, Digester, EventId, Scalar};
use hookbox_signature::{Preset, sign};

use crate::client::post;
use crate::fake::NOW;
use crate::world::{EVENT, World, by_bytes, by_fields, key, signature, source};

/// Returns a genuine GitHub request with this value of `X-GitHub-Delivery`, a header that the
/// signature does not cover.
fn github(delivery: &str, body: &[u8]) -> Vec<u8> {
    let signed = signature(&Preset::Github.scheme(), &key("github"), body);
    let headers = [
        ("x-github-delivery", delivery),
        ("x-hub-signature-256", &signed),
    ];
    post("/hooks/github", &headers, body)
}

fn by_what_it_says(body: &[u8]) -> EventId {
    let digest = ContentDigest::of_canonical_json(&Digester::Plain, body);
    EventId::from_digest(&Digester::Plain, &source("github"), &digest)
}

/// An attacker can send a captured request with any id in the header for the provider's delivery
/// id. The events of this source are identified by their bodies alone, so the id does not make a
/// second event, and does not hide another one (H12).
#[tokio::test]
async fn an_unsigned_delivery_id_neither_makes_an_event_nor_hides_one() {
    let world = World::new().await;
    let captured = br#"{"action":"opened"}"#;
    let genuine = br#"{"action":"closed"}"#;
    for (delivery, body) in [
        ("11111111-0000-0000-0000-000000000000", &captured[..]),
        ("22222222-0000-0000-0000-000000000000", &captured[..]),
        // The attacker sends a captured body with the `X-GitHub-Delivery` of a genuine event that
        // has not arrived yet.
        ("33333333-0000-0000-0000-000000000000", &captured[..]),
        ("33333333-0000-0000-0000-000000000000", &genuine[..]),
    ] {
        assert_eq!(world.ask(&github(delivery, body)).await.status, 200);
    }
    let events: Vec<EventId> = world.broker.envelopes().iter().map(|it| it.event).collect();
    let (once, other) = (by_what_it_says(captured), by_what_it_says(genuine));
    assert_ne!(once, other);
    assert_eq!(events, [once, once, once, other]);
}

/// Texts that would end a line, a string, a statement or a pattern in other programs.
const STRANGE: [&str; 14] = [
    r"a\r\nx-signature: b",
    r"a\r\n\r\nPOST / HTTP/1.1",
    r"\u0000",
    r"a\u0000b",
    r"\u007f\u001b[31m",
    "\u{1f980}",
    "e\u{301} \u{202e}",
    "'; drop table events; --",
    r#"\" or 1=1 /*"#,
    "${jndi:ldap://x} %s {} $1",
    "#",
    "hookbox.*.route.#",
    "amq.rabbitmq.reply-to",
    "../../etc/passwd",
];

fn event(uid: &str, kind: &str) -> Vec<u8> {
    format!(r#"{{"integration_id":7,"uid":"{uid}","event":{{"type":"{kind}"}}}}"#).into_bytes()
}

fn unescaped(text: &str) -> String {
    serde_json::from_str(&format!("\"{text}\"")).unwrap()
}

#[tokio::test]
async fn strange_texts_are_ids_and_types_like_any_other() {
    let world = World::new().await;
    let long = "x".repeat(300);
    let mut events = Vec::new();
    for text in STRANGE.into_iter().chain([long.as_str()]) {
        let value = unescaped(text);
        let as_id = event(text, "ios_score.complete");
        let (envelope, routes) = world.keeps(&as_id).await;
        let uid = Scalar::String(value.clone());
        assert_eq!(envelope.event, by_fields("7", uid, "ios_score.complete"));
        assert_eq!(envelope.topic.as_str(), "begini.ios_score.complete");
        assert_eq!(routes, ["scores", "archive"], "{text}");
        let (again, _) = world.keeps(&as_id).await;
        assert_eq!(again.event, envelope.event, "{text}");
        events.push(envelope.event);

        let (envelope, routes) = world.keeps(&event("u-1", text)).await;
        let uid = Scalar::String("u-1".into());
        assert_eq!(envelope.event, by_fields("7", uid, &value));
        // An event type that contains only characters that a topic may contain becomes part of the
        // topic. With any other type, the topic is `begini.untyped`.
        let topic = match text {
            "amq.rabbitmq.reply-to" => "begini.amq.rabbitmq.reply-to",
            _ => "begini.untyped",
        };
        assert_eq!(envelope.topic.as_str(), topic, "{text}");
        assert_eq!(routes, ["unrouted"], "{text}");
        events.push(envelope.event);
    }
    let all = events.len();
    events.sort();
    events.dedup();
    assert_eq!(
        events.len(),
        all,
        "each text must give a different event id"
    );
    // The event id does not depend on how a text is escaped in JSON.
    let (escaped, _) = world.keeps(&event(r"\ud83e\udd80", "#")).await;
    let uid = Scalar::String("\u{1f980}".into());
    assert_eq!(escaped.event, by_fields("7", uid, "#"));
    // With an unescaped line end or NUL in a text, the body is not JSON, so it is identified by its
    // bytes.
    for raw in ["a\r\nb", "a\0b"] {
        let body = event(raw, "ios_score.complete");
        let (envelope, routes) = world.keeps(&body).await;
        assert_eq!(envelope.event, by_bytes(&body));
        assert_eq!(routes, ["unrouted"]);
    }
}

/// Returns a request with a message id in a signed header, as Standard Webhooks defines it.
fn with_id(id: &[u8]) -> Vec<u8> {
    let body = b"{}";
    let text = String::from_utf8_lossy(id);
    let signed = sign(
        &Preset::StandardWebhooks.scheme(),
        &key("standard"),
        body,
        NOW,
        &text,
    );
    let mut request = b"POST /hooks/standard HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n".to_vec();
    for (name, value) in &signed[1..] {
        request.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    request.extend([b"webhook-id: ", id, b"\r\n\r\n", body].concat());
    request
}

#[tokio::test]
async fn strange_ids_in_a_signed_header_are_kept_or_refused_and_never_a_fault() {
    let world = World::new().await;
    for id in [
        "'; drop table events; --",
        "#",
        "a*b",
        "x".repeat(255).as_str(),
    ] {
        let answer = world.ask(&with_id(id.as_bytes())).await;
        assert_eq!(answer.status, 200, "{id}: {}", answer.text);
        let fields = [Scalar::String(id.to_owned())];
        let event = EventId::from_fields(&Digester::Plain, &source("standard"), &fields);
        assert_eq!(world.broker.envelopes().last().unwrap().event, event);
    }
    let kept = world.broker.kept().len();
    let long = "x".repeat(300);
    let refused: [(&[u8], u16); 7] = [
        (long.as_bytes(), 401),
        (b"amq.direct", 401),
        (b"", 401),
        ("\u{1f980}".as_bytes(), 401),
        // The line break ends the header, so hookbox reads the id `a`, which is not the one that
        // was signed.
        (b"a\r\nx-more: b", 401),
        (b"a\rb", 400),
        (b"a\0b", 400),
    ];
    for (id, status) in refused {
        let mut client = world.client().await;
        let answer = client.ask(&with_id(id)).await;
        assert_eq!(answer.status, status, "{id:?}");
        assert!(client.closes().await, "{id:?}");
    }
    assert_eq!(world.broker.kept().len(), kept);
    world.keeps(EVENT).await;
}
