//! Tests which routes get an event when routes have conditions on the body.

use std::collections::BTreeMap;

use hookbox_event::{Condition, ExactNumber, Literal, Selection, Test};
use hookbox_ingest::Limits;
use tokio::task::JoinSet;

use crate::client::{Client, PATIENCE, post};
use crate::fake::Mode;
use crate::world::{World, begini, key, plain_scheme, selection, signature};

fn condition(pointer: &str, test: Test) -> Condition {
    let pointer = pointer.parse().unwrap();
    Condition { pointer, test }
}

fn is(text: &str) -> Test {
    Test::OneOf(vec![Literal::String(text.to_owned())])
}

fn at_least(number: &str) -> Test {
    Test::Greater(ExactNumber::parse(number).unwrap())
}

/// Returns the selections of three routes: scores from the web, high scores, and applications.
fn selections() -> Vec<Selection> {
    let scores = "begini.*_score.complete";
    vec![
        selection("web", scores, vec![condition("/platform", is("WEB"))]),
        selection(
            "high",
            scores,
            vec![
                condition("/score", at_least("700")),
                condition("/test", Test::Exists(false)),
            ],
        ),
        selection("applications", "begini.application.*", Vec::new()),
    ]
}

/// Returns the body of a score event. `more` contains further members of the JSON object.
fn score(uid: usize, more: &str) -> Vec<u8> {
    let kind = r#""event":{"type":"ios_score.complete"}"#;
    format!(r#"{{"integration_id":7,"uid":"u-{uid}",{kind}{more}}}"#).into_bytes()
}

#[tokio::test]
async fn conditions_choose_among_the_routes_of_a_topic() {
    let world = World::routed(Limits::standard(), selections()).await;
    for (uid, (more, expect)) in [
        (r#","platform":"WEB","score":650"#, "web"),
        (r#","score":700.0000000000000000001"#, "high"),
        (r#","score":7.01e2,"platform":"\u0057EB""#, "web high"),
        (r#","score":701,"test":null"#, "unrouted"),
        (r#","score":700"#, "unrouted"),
        (r#","score":"701""#, "unrouted"),
        (r#","platform":"WEB","platform":"WEB""#, "unrouted"),
        ("", "unrouted"),
    ]
    .into_iter()
    .enumerate()
    {
        let (_, routes) = world.keeps(&score(uid, more)).await;
        assert_eq!(routes.join(" "), expect, "{more}");
    }
    let application = br#"{"event":{"type":"application.complete"},"platform":"WEB"}"#;
    assert_eq!(world.keeps(application).await.1, ["applications"]);
    // For a body that is not JSON, no condition holds, not even the condition that a value is
    // absent.
    assert_eq!(world.keeps(b"platform=WEB").await.1, ["unrouted"]);
    let unrouted = world.ingest.counters().unrouted_by_source();
    assert_eq!(unrouted["begini"], 6);
    assert_eq!(unrouted["plain"], 0);
}

/// In a posted form, the event is the JSON in a form field. The conditions must be decided on this
/// JSON, and not on the other fields.
#[tokio::test]
async fn conditions_are_decided_on_the_event_in_a_form() {
    let topics = vec![selection(
        "zen",
        "hub.#",
        vec![condition("/zen", is("Design"))],
    )];
    let world = World::routed(Limits::standard(), topics).await;
    let scheme = hookbox_signature::Preset::Github.scheme();
    for (form, routes) in [
        ("payload=%7B%22zen%22%3A%22Design%22%7D", ["zen"]),
        (
            "payload=%7B%22zen%22%3A%22Speak%22%7D&zen=Design",
            ["unrouted"],
        ),
    ] {
        let signed = signature(&scheme, &key("hub"), form.as_bytes());
        let headers = [
            ("x-hub-signature-256", signed.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let answer = world
            .ask(&post("/hooks/hub", &headers, form.as_bytes()))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(world.broker.kept().last().unwrap().routes, routes);
    }
}

/// The conditions of routes that select only events of another source must have no effect.
#[tokio::test]
async fn another_source_is_not_affected() {
    let world = World::routed(Limits::standard(), selections()).await;
    let body = br#"{"platform":"WEB","score":900}"#;
    let signed = signature(&plain_scheme(), &key("plain"), body);
    let answer = world
        .ask(&post("/hooks/plain", &[("x-plain", &signed)], body))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(world.broker.kept()[0].routes, ["unrouted"]);
    let unrouted = world.ingest.counters().unrouted_by_source();
    assert_eq!((unrouted["plain"], unrouted["begini"]), (1, 0));
}

/// While the only publish slot is busy, forty requests of one topic wait. Their events go to four
/// different sets of routes. The events of each set must be published once, in a batch of their
/// own, to exactly these routes.
#[tokio::test]
async fn a_batch_has_only_events_that_go_to_the_same_routes() {
    let limits = Limits {
        publish_slots: 1,
        ..Limits::standard()
    };
    let world = World::routed(limits, selections()).await;
    world.broker.set(Mode::Hang);
    let kinds = [
        (r#","platform":"WEB""#, "web"),
        (r#","score":900"#, "high"),
        (r#","platform":"WEB","score":900"#, "web high"),
        ("", "unrouted"),
    ];
    let mut requests = JoinSet::new();
    let spawn = |requests: &mut JoinSet<()>, body: Vec<u8>| {
        let address = world.address;
        requests.spawn(async move {
            let answer = Client::connect(address).await.ask(&begini(&body)).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        });
    };
    spawn(&mut requests, score(0, ""));
    world.broker.until_begun(1).await;
    for uid in 1..41 {
        spawn(&mut requests, score(uid, kinds[uid % 4].0));
    }
    let counters = world.ingest.counters();
    let waiting = || counters.waiting.load(std::sync::atomic::Ordering::Relaxed) == 40;
    let all_wait = async {
        while !waiting() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all_wait).await.unwrap();
    world.broker.set(Mode::Take);
    while let Some(ended) = requests.join_next().await {
        ended.unwrap();
    }
    let mut found: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for batch in world.broker.kept() {
        let sizes = found.entry(batch.routes.join(" ")).or_default();
        sizes.push(batch.envelopes.len());
        for envelope in &batch.envelopes {
            let body: serde_json::Value = serde_json::from_slice(&envelope.body).unwrap();
            let is_web = body["platform"] == "WEB";
            let is_high = body["score"] == 900;
            let expect = match (is_web, is_high) {
                (true, true) => "web high",
                (true, false) => "web",
                (false, true) => "high",
                (false, false) => "unrouted",
            };
            assert_eq!(batch.routes.join(" "), expect, "{body}");
        }
    }
    let expect = [
        ("high", vec![10]),
        ("unrouted", vec![1, 10]),
        ("web", vec![10]),
        ("web high", vec![10]),
    ];
    let expect = expect.map(|(routes, sizes)| (routes.to_owned(), sizes));
    assert_eq!(found, BTreeMap::from(expect));
    assert_eq!(counters.unrouted_by_source()["begini"], 11);
}
