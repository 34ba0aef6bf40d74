//! Tests bad signatures: each request is refused with the answer that its provider expects, and
//! without a detail that would help an attacker.

use hookbox_event::Timestamp;
use hookbox_signature::{Key, Preset};

use crate::client::{head, post};
use crate::fake::NOW;
use crate::world::{EVENT, World, begini, key, plain_scheme, signature, signed};

/// Returns wrong values of the signature header, each with the expected reason of the refusal.
fn wrong() -> Vec<(&'static str, Vec<String>)> {
    let good = signed(EVENT);
    let scheme = Preset::Begini.scheme();
    vec![
        ("missing_header", vec![]),
        ("repeated_header", vec![good.clone(), good.clone()]),
        ("repeated_header", vec!["0".repeat(128), good.clone()]),
        ("malformed_signature", vec![good.to_uppercase()]),
        ("malformed_signature", vec![good[..126].to_owned()]),
        ("malformed_signature", vec![format!("{good}00")]),
        ("malformed_signature", vec![format!("{}zz", &good[..126])]),
        ("malformed_signature", vec![String::new()]),
        ("malformed_signature", vec![format!("{good}, {good}")]),
        ("unreadable_header", vec!["a".repeat(5_000)]),
        ("wrong_signature", vec![signed(b"{}")]),
        (
            "wrong_signature",
            vec![signature(&scheme, &key("plain"), EVENT)],
        ),
    ]
}

#[tokio::test]
async fn begini_is_answered_403_and_no_detail() {
    let world = World::new().await;
    let mut seen = std::collections::BTreeMap::<&str, u64>::new();
    for (reason, values) in wrong() {
        let headers: Vec<(&str, &str)> = values
            .iter()
            .map(|value| ("x-signature", value.as_str()))
            .collect();
        let answer = world.ask(&post("/hooks/begini", &headers, EVENT)).await;
        assert_eq!(answer.status, 403, "{reason}: {values:?}");
        let mut fields = answer.json();
        let request = fields.as_object_mut().unwrap().remove("request");
        assert_eq!(request.unwrap().as_str().unwrap().len(), 36);
        let refused = serde_json::json!({
            "status": "refused", "reason": "signature", "detail": "Validation Failure",
        });
        assert_eq!(
            fields, refused,
            "the answer must not depend on what is wrong with the signature"
        );
        *seen.entry(reason).or_default() += 1;
        world.nothing_published();
    }
    let counted = world.ingest.counters().refused_by_reason();
    assert_eq!(
        counted, seen,
        "the metrics must count the refusals by reason"
    );
}

#[tokio::test]
async fn another_source_is_answered_401_without_a_detail() {
    let world = World::new().await;
    let others = signature(&plain_scheme(), &key("begini"), EVENT);
    let upper = signed(EVENT);
    for headers in [
        vec![],
        vec![("x-plain", &*others)],
        vec![("x-signature", &*upper)],
    ] {
        let answer = world.ask(&post("/hooks/plain", &headers, EVENT)).await;
        assert_eq!(answer.status, 401, "{headers:?}");
        assert_eq!(answer.json()["reason"], "signature");
        assert_eq!(answer.json().get("detail"), None);
        world.nothing_published();
    }
}

#[tokio::test]
async fn a_changed_body_is_refused_and_the_right_one_kept() {
    let world = World::new().await;
    let text = signed(EVENT);
    let mut changed = EVENT.to_vec();
    changed[20] ^= 1;
    let longer = [EVENT, b" "].concat();
    for body in [&changed, &longer, &EVENT[1..].to_vec(), &Vec::new()] {
        let request = post("/hooks/begini", &[("x-signature", &text)], body);
        assert_eq!(world.ask(&request).await.status, 403);
        world.nothing_published();
    }
    world.keeps(EVENT).await;
}

#[tokio::test]
async fn a_refusal_on_a_connection_does_not_affect_other_requests() {
    let world = World::new().await;
    let mut bad = world.client().await;
    let mut good = world.client().await;
    let refused = bad.ask(&post("/hooks/begini", &[], EVENT)).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.header("connection"), Some("close"));
    assert_eq!(good.ask(&begini(EVENT)).await.status, 200);
    assert!(bad.closes().await);
}

#[tokio::test]
async fn a_refusal_is_kept_for_operators_without_what_was_sent() {
    let world = World::new().await;
    let ledger = std::sync::Arc::clone(&world.ledger);
    let answer = world.ask(&post("/hooks/begini", &[], b"abc")).await;
    let strange = post("/hooks/a%0A%1b%5b31mb", &[], b"abc");
    assert_eq!(world.ask(&strange).await.status, 404);
    let long = format!("/hooks/{}", "x".repeat(500));
    assert_eq!(world.ask(&post(&long, &[], b"")).await.status, 404);
    world.stop().await;
    let kept = ledger.kept();
    assert_eq!(kept.len(), 3);
    assert_eq!(answer.json()["request"], kept[0].request.to_string());
    assert_eq!(kept[0].source, "begini");
    assert_eq!(kept[0].reason, "missing_header");
    // The digest that `sha256sum` prints for the body `abc` (FIPS 180-2, appendix B.1).
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(kept[0].body_digest.as_deref(), Some(digest));
    assert_eq!(kept[0].body_bytes, 3);
    assert_eq!(kept[0].peer, "127.0.0.1");
    assert_eq!(kept[0].at, NOW);
    assert_eq!(kept[1].source, r"a\n\u{1b}[31mb");
    assert_eq!(kept[1].reason, "unknown_source");
    assert_eq!(
        kept[1].body_digest, None,
        "no digest may be stored, because the body was not read"
    );
    assert_eq!(kept[2].source, "x".repeat(63));
}

#[tokio::test]
async fn a_refusal_that_could_not_be_kept_is_counted() {
    let world = World::new().await;
    let counters = world.ingest.counters();
    world.ledger.fail_from_now();
    for _ in 0..2 {
        let answer = world.ask(&post("/hooks/begini", &[], b"abc")).await;
        assert_eq!(
            answer.status, 403,
            "the refusal must have its usual status although the store is unavailable"
        );
    }
    world.stop().await;
    let dropped = counters
        .refusals_dropped
        .load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(dropped, 2);
}

/// When all keys of a source have expired, the sender did nothing wrong. The answer must make it
/// send its event again.
#[tokio::test]
async fn a_source_whose_keys_have_ended_asks_for_a_later_try() {
    let world = World::new().await;
    let ending = |at: i64| {
        let secret = b"the secret of begini".to_vec();
        let until = Timestamp::from_unix_micros(NOW.unix_micros() + at);
        vec![Key::new("begini-2025", Some(until), secret).unwrap()]
    };
    let ready = head("GET", "/readyz", &[]);
    assert!(world.ingest.swap_keys("begini", ending(1)));
    assert_eq!(world.begini(EVENT).await.status, 200);
    assert!(world.ingest.swap_keys("begini", ending(0)));
    for headers in [&[("x-signature", &*signed(EVENT))][..], &[]] {
        let answer = world.ask(&post("/hooks/begini", headers, EVENT)).await;
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").is_some());
        assert_eq!(answer.json()["reason"], "try_again");
        assert_eq!(answer.json().get("detail"), None);
    }
    let counters = world.ingest.counters();
    assert_eq!(counters.refused_by_reason()["no_valid_key"], 2);
    assert_eq!(counters.keys_end()["begini"], Some(NOW));
    assert_eq!(counters.keys_end()["plain"], None);
    // Readiness stays green, because a load balancer must still send requests that other sources
    // can verify.
    assert_eq!(world.ask(&ready).await.status, 200);
    for source in counters.keys_end().keys() {
        assert!(world.ingest.swap_keys(source, ending(0)));
    }
    let answer = world.ask(&ready).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.json()["class"], "keys");
    assert!(world.ingest.swap_keys("plain", vec![key("plain")]));
    assert_eq!(world.ask(&ready).await.status, 200);
    assert!(!world.ingest.swap_keys("nowhere", ending(1)));
}
