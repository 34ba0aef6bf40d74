//! Tests events with valid signatures: each is answered 200, and exactly these events are
//! published.

use hookbox_event::{ContentDigest, Digester, EventId, Scalar};

use crate::client::{head, post};
use crate::fake::NOW;
use crate::world::{
    EVENT, World, begini, by_fields, by_json, key, plain_scheme, signature, signed, source,
};

#[tokio::test]
async fn a_good_event_is_accepted() {
    let world = World::new().await;
    let answer = world.begini(EVENT).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let kept = world.broker.kept();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].routes, ["scores", "archive"]);
    assert_eq!(kept[0].batch.count, 1);
    let [envelope] = kept[0].envelopes.as_slice() else {
        panic!("expected exactly one envelope");
    };
    let expect =
        serde_json::json!({ "status": "accepted", "receipt": envelope.receipt.to_string() });
    assert_eq!(answer.json(), expect);
    assert_eq!(envelope.body, EVENT);
    assert_eq!(envelope.source, source("begini"));
    assert_eq!(envelope.topic.as_str(), "begini.ios_score.complete");
    let uid = Scalar::String("u-1".into());
    assert_eq!(envelope.event, by_fields("7", uid, "ios_score.complete"));
    assert_eq!(envelope.key_id, "begini-2025");
    assert_eq!(envelope.received_at, NOW);
    assert_eq!(envelope.number, 1);
    assert_eq!(envelope.seal, None);
    assert_eq!(envelope.redo, None);
    assert_eq!(envelope.traceparent, None);
    world.stop().await;
}

#[tokio::test]
async fn the_same_event_twice_has_one_identity_and_two_receipts() {
    let world = World::new().await;
    let mut client = world.client().await;
    let again = br#"{"event":{"type":"ios_score.complete"}, "uid":"u\u002d1", "integration_id":7}"#;
    for body in [EVENT, EVENT, again] {
        // All three requests use one connection, which stays open after an answer 200.
        assert_eq!(client.ask(&begini(body)).await.status, 200);
    }
    let all = world.broker.envelopes();
    assert_eq!(all.len(), 3);
    assert!(all.iter().all(|one| one.event == all[0].event));
    assert!(all.iter().all(|one| one.digest == all[0].digest));
    assert_ne!(all[0].receipt, all[1].receipt);
    assert_eq!(all[1].body, EVENT);
    assert_eq!(all[2].body, &again[..]);
    let numbers: Vec<u64> = all.iter().map(|one| one.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[tokio::test]
async fn a_source_without_fields_is_identified_by_its_content() {
    let world = World::new().await;
    let text = signature(&plain_scheme(), &key("plain"), EVENT);
    let request = post("/hooks/plain", &[("x-plain", &text)], EVENT);
    assert_eq!(world.ask(&request).await.status, 200);
    let kept = world.broker.kept();
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0].routes, ["plain"]);
    let envelope = &kept[0].envelopes[0];
    assert_eq!(envelope.topic.as_str(), "plain.untyped");
    let digest = ContentDigest::of_canonical_json(
        &Digester::Plain,
        br#"{"event":{"type":"ios_score.complete"},"integration_id":7,"uid":"u-1"}"#,
    );
    assert_eq!(envelope.digest, digest);
    assert_eq!(
        envelope.event,
        EventId::from_digest(&Digester::Plain, &source("plain"), &digest)
    );
    // The same body sent to another source is another event.
    assert_ne!(envelope.event, by_json(EVENT));
}

#[tokio::test]
async fn a_body_in_chunks_is_the_body() {
    let world = World::new().await;
    let headers = [
        ("x-signature", &*signed(EVENT)),
        ("transfer-encoding", "chunked"),
    ];
    let mut client = world.client().await;
    client.send(&head("POST", "/hooks/begini", &headers)).await;
    for byte in EVENT {
        client
            .send(&[b"1\r\n", &[*byte][..], b"\r\n"].concat())
            .await;
    }
    client.send(b"0\r\nx-signature: trailer\r\n\r\n").await;
    assert_eq!(client.answer().await.unwrap().status, 200);
    let all = world.broker.envelopes();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].body, EVENT);
}

#[tokio::test]
async fn a_sender_that_waits_for_100_continue_gets_it() {
    let world = World::new().await;
    let length = EVENT.len().to_string();
    let headers = [
        ("x-signature", &*signed(EVENT)),
        ("content-length", &length),
        ("expect", "100-continue"),
    ];
    let mut client = world.client().await;
    let continued = client.ask(&head("POST", "/hooks/begini", &headers)).await;
    assert_eq!(continued.status, 100);
    assert_eq!(client.ask(EVENT).await.status, 200);
    assert_eq!(world.broker.envelopes()[0].body, EVENT);
}

#[tokio::test]
async fn only_a_well_formed_trace_context_travels() {
    let world = World::new().await;
    let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let (upper, later) = (good.to_uppercase(), good.replacen("00", "cc", 1));
    let forbidden = good.replacen("00", "ff", 1);
    let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
    let zero_parent = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16));
    for texts in [
        vec![good],
        vec![&later],
        vec![&upper],
        vec!["00-1-2-3"],
        vec!["x\"; drop"],
        vec![&good[..54]],
        // The next values have the right form, but the W3C Trace Context recommendation calls them
        // invalid.
        vec![&forbidden],
        vec![&zero_trace],
        vec![&zero_parent],
        vec![good, &later],
    ] {
        let signature = signed(EVENT);
        let mut headers = vec![("x-signature", &*signature)];
        headers.extend(texts.iter().map(|text| ("traceparent", *text)));
        let request = post("/hooks/begini", &headers, EVENT);
        assert_eq!(world.ask(&request).await.status, 200, "{texts:?}");
    }
    let traces: Vec<Option<String>> = world
        .broker
        .envelopes()
        .into_iter()
        .map(|one| one.traceparent)
        .collect();
    let mut expect = vec![Some(good.to_owned()), Some(later)];
    expect.resize(10, None);
    assert_eq!(traces, expect);
}

#[tokio::test]
async fn keys_are_swapped_while_it_runs() {
    let world = World::new().await;
    let new = hookbox_signature::Key::new("new", None, b"another".to_vec()).unwrap();
    assert!(!world.ingest.swap_keys("unknown", vec![new.clone()]));
    assert!(world.ingest.swap_keys("begini", vec![new.clone()]));
    assert_eq!(world.begini(EVENT).await.status, 403);
    world.nothing_published();
    let scheme = hookbox_signature::Preset::Begini.scheme();
    let text = signature(&scheme, &new, EVENT);
    let request = post("/hooks/begini", &[("x-signature", &text)], EVENT);
    assert_eq!(world.ask(&request).await.status, 200);
    assert_eq!(world.broker.envelopes()[0].key_id, "new");
}
