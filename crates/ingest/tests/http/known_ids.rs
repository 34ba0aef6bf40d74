//! Tests that event ids are the same as in version 0.1.0. Event ids are stored. If a change of the
//! code changed them, an event that a provider sends again would no longer be recognised as a
//! duplicate.

use hookbox_signature::{Preset, Scheme, sign};

use crate::client::post;
use crate::fake::NOW;
use crate::world::{World, key, plain_scheme};

/// Returns a signed request to a source. The signature does not cover its GitHub and Shopify
/// headers.
fn request(name: &str, scheme: &Scheme, body: &[u8]) -> Vec<u8> {
    let signed = sign(scheme, &key(name), body, NOW, "msg_1");
    let mut headers: Vec<(&str, &str)> = vec![
        ("x-github-event", "push"),
        ("x-github-delivery", "d-1"),
        ("x-shopify-topic", "orders/paid"),
    ];
    for (name, value) in &signed {
        headers.push((name.as_str(), value.to_str().unwrap()));
    }
    post(&format!("/hooks/{name}"), &headers, body)
}

#[tokio::test]
async fn event_ids_are_the_same_as_in_version_0_1_0() {
    let world = World::new().await;
    let begini = Preset::Begini.scheme();
    let standard = Preset::StandardWebhooks.scheme();
    let whole = br#"{"integration_id":7,"uid":"u-1","event":{"type":"ios_score.complete"}}"#;
    let known: [(&str, &Scheme, &[u8], &str, &str); 8] = [
        (
            "begini",
            &begini,
            whole,
            "begini.ios_score.complete",
            "31e074932ecb58a6b68a25c8b6d1986baea1bde28ac16c3b249d057809f93ee4",
        ),
        (
            "begini",
            &begini,
            br#"{ "uid": "u-1" }"#,
            "begini.untyped",
            "25cad9d7662ab0ce3d41549a61593a8633e95d5bab99aaadaea0592304842e5f",
        ),
        (
            "begini",
            &begini,
            b"no JSON",
            "begini.untyped",
            "9cadb783f97e500793795e887b6a419c2939be532dbf824f1fe990c8df2c9eba",
        ),
        (
            "plain",
            &plain_scheme(),
            br#"{"a":1}"#,
            "plain.untyped",
            "3bf67e601c3d4041ee891c851df43cd155e19988663dcfec9358da8e15dcd925",
        ),
        (
            "plain",
            &plain_scheme(),
            b"",
            "plain.untyped",
            "fa6c3788f02db570198b81d409b886fb22d2070150b23388ae021a2fa2fe207e",
        ),
        (
            "github",
            &Preset::Github.scheme(),
            br#"{"action":"added"}"#,
            "github.untyped",
            "692ee3033bbd86f182f71d8881a3be75ea3e139b1bef69693803870ba0238c56",
        ),
        (
            "standard",
            &standard,
            br#"{"type":"a.b"}"#,
            "standard.a.b",
            "12dfa7784012c65a89ae1fc4dea3ccba6f3f602081f99d4938aca9c834e1f159",
        ),
        (
            "standard",
            &standard,
            b"no JSON",
            "standard.untyped",
            "12dfa7784012c65a89ae1fc4dea3ccba6f3f602081f99d4938aca9c834e1f159",
        ),
    ];
    for (name, scheme, body, topic, id) in known {
        let found = accepted(&world, &request(name, scheme, body)).await;
        assert_eq!(found, (topic.to_owned(), id.to_owned()), "{name}");
    }
}

/// Sends a request that must be accepted, and returns its topic and the whole digest whose first 16
/// bytes are the event id. Workers of earlier versions still read the whole digest.
async fn accepted(world: &World, request: &[u8]) -> (String, String) {
    let answer = world.ask(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let envelope = world.broker.envelopes().pop().unwrap();
    let tail = envelope.id_tail.unwrap();
    let tail: String = tail.iter().map(|byte| format!("{byte:02x}")).collect();
    (
        envelope.topic.to_string(),
        format!("{}{tail}", envelope.event),
    )
}
