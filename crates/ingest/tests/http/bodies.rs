//! Tests bodies that are unusual and have a valid signature: each is published byte for byte, and
//! none is refused.

use hookbox_event::Scalar;
use hookbox_ingest::Limits;

use crate::world::{EVENT, World, begini, by_bytes, by_fields, by_json};

fn event(uid: &str, kind: &str) -> Vec<u8> {
    format!(r#"{{"integration_id":7,"uid":{uid},"event":{{"type":{kind}}}}}"#).into_bytes()
}

const SCORE: &str = r#""ios_score.complete""#;

#[tokio::test]
async fn a_body_that_is_not_json_is_identified_by_its_bytes() {
    let world = World::new().await;
    let deep_array = vec![b'['; 100_000];
    let mut deep = vec![b'['; 100_000];
    deep.extend(vec![b']'; 100_000]);
    for body in [
        &b""[..],
        b"not JSON",
        b"\xff\xfe\x00",
        b"{\"uid\":\"u-1\"",
        b"{} {}",
        b"\xef\xbb\xbf{}",
        b"{\"a\":01}",
        b"NaN",
        &deep_array,
        &deep,
    ] {
        let (envelope, routes) = world.keeps(body).await;
        assert_eq!(envelope.event, by_bytes(body));
        assert_eq!(envelope.topic.as_str(), "begini.untyped");
        assert_eq!(routes, ["unrouted"]);
    }
}

#[tokio::test]
async fn json_without_its_fields_is_identified_by_its_content() {
    let world = World::new().await;
    for (body, topic) in [
        (b"{}".to_vec(), "begini.untyped"),
        (b"[]".to_vec(), "begini.untyped"),
        (b"null".to_vec(), "begini.untyped"),
        (br#"{"event":"text"}"#.to_vec(), "begini.untyped"),
        (
            br#"{"integration_id":7,"event":{"type":"ios_score.complete"}}"#.to_vec(),
            "begini.ios_score.complete",
        ),
        (event("null", SCORE), "begini.ios_score.complete"),
        (event(r#"{"a":1}"#, SCORE), "begini.ios_score.complete"),
        (event("[1]", SCORE), "begini.ios_score.complete"),
        (event(r#""u-1""#, "{}"), "begini.untyped"),
        (event(r#""\ud800""#, SCORE), "begini.ios_score.complete"),
        (
            br#"{"uid":"a","integration_id":7,"event":{"type":"ios_score.complete"},"uid":"b"}"#
                .to_vec(),
            "begini.ios_score.complete",
        ),
    ] {
        let text = String::from_utf8_lossy(&body).into_owned();
        let (envelope, _) = world.keeps(&body).await;
        assert_eq!(envelope.event, by_json(&body), "{text}");
        assert_eq!(envelope.topic.as_str(), topic, "{text}");
    }
    let mut ids: Vec<_> = world
        .broker
        .envelopes()
        .iter()
        .map(|one| one.event)
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(
        ids.len(),
        11,
        "each of these bodies must have an event id of its own"
    );
}

#[tokio::test]
async fn a_repeated_key_identifies_nothing() {
    let world = World::new().await;
    let twice = |first: &str, second: &str| {
        format!(
            r#"{{"uid":"{first}","uid":"{second}","integration_id":7,"event":{{"type":{SCORE}}}}}"#
        )
    };
    let (one, _) = world.keeps(twice("a", "b").as_bytes()).await;
    let (other, _) = world.keeps(twice("b", "a").as_bytes()).await;
    assert_ne!(one.event, other.event);
    for uid in ["a", "b"] {
        let uid = Scalar::String(uid.into());
        assert_ne!(one.event, by_fields("7", uid, "ios_score.complete"));
    }
}

#[tokio::test]
async fn scalars_of_any_kind_are_identities() {
    let world = World::new().await;
    for (uid, value) in [
        ("42", Scalar::Number("42".into())),
        ("1e400", Scalar::Number("1e400".into())),
        ("true", Scalar::Bool(true)),
        (r#""42""#, Scalar::String("42".into())),
        (r#""a\u0000b""#, Scalar::String("a\0b".into())),
        (r#""""#, Scalar::String(String::new())),
    ] {
        let (envelope, routes) = world.keeps(&event(uid, SCORE)).await;
        assert_eq!(envelope.event, by_fields("7", value, "ios_score.complete"));
        assert_eq!(routes, ["scores", "archive"]);
    }
}

#[tokio::test]
async fn unknown_types_go_unrouted() {
    let world = World::new().await;
    for (kind, topic, expect) in [
        ("brand_new.thing", "begini.brand_new.thing", "unrouted"),
        ("with space", "begini.untyped", "unrouted"),
        ("#", "begini.untyped", "unrouted"),
        ("", "begini.untyped", "unrouted"),
        ("new_score.complete", "begini.new_score.complete", "scores"),
    ] {
        let body = event(r#""u-1""#, &format!("\"{kind}\""));
        let (envelope, routes) = world.keeps(&body).await;
        assert_eq!(envelope.topic.as_str(), topic);
        assert_eq!(routes, [expect]);
        let uid = Scalar::String("u-1".into());
        assert_eq!(envelope.event, by_fields("7", uid, kind));
    }
}

#[tokio::test]
async fn two_million_traits() {
    let traits = vec!["{}"; 2_000_000].join(",");
    let body = format!(
        r#"{{"integration_id":7,"uid":"u-1","event":{{"type":{SCORE}}},"traits":[{traits}]}}"#
    );
    let large = World::with(Limits {
        body_max: Limits::BODY_MAX_CAP,
        ..Limits::standard()
    })
    .await;
    let (envelope, _) = large.keeps(body.as_bytes()).await;
    let uid = Scalar::String("u-1".into());
    assert_eq!(envelope.event, by_fields("7", uid, "ios_score.complete"));

    let standard = World::new().await;
    let mut client = standard.client().await;
    client.offer(&begini(body.as_bytes())).await;
    assert_eq!(client.answer().await.unwrap().status, 413);
    standard.nothing_published();
    standard.keeps(EVENT).await;
}
