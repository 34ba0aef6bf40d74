//! Tests an ingest whose broker refuses messages, does not respond, or is busy: each sender gets
//! the true answer in time.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_driver::{NotReadyKind, PublishErrorKind, Readiness};
use hookbox_ingest::Limits;
use hookbox_testkit::eventually::eventually;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{HttpResponse, PATIENCE, head};
use crate::fake::Mode;
use crate::world::{EVENT, World, begini, hasty};

fn try_again(answer: &HttpResponse) {
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(answer.json()["reason"], "try_again");
    assert_eq!(answer.json().get("receipt"), None);
}

#[tokio::test]
async fn a_request_without_a_confirm_is_answered_503() {
    let world = World::new().await;
    for kind in [
        PublishErrorKind::Rejected,
        PublishErrorKind::Unroutable,
        PublishErrorKind::TimedOut,
        PublishErrorKind::Blocked,
        PublishErrorKind::Unavailable,
    ] {
        world.broker.set(Mode::Fail(kind));
        try_again(&world.begini(EVENT).await);
        let counted = world.ingest.counters().refused_by_reason();
        assert_eq!(counted.get(kind.as_str()), Some(&1));
    }
    let counters = world.ingest.counters();
    assert_eq!(counters.not_durable.load(Ordering::Relaxed), 5);
    assert_eq!(counters.accepted.load(Ordering::Relaxed), 0);
    assert_eq!(
        world.broker.begun(),
        5,
        "hookbox must try to publish each request only once, because the sender retries"
    );
    world.broker.set(Mode::Take);
    world.keeps(EVENT).await;
    assert_eq!(counters.accepted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_unresponsive_broker_is_503_within_the_deadline() {
    let world = World::with(hasty()).await;
    world.broker.set(Mode::Hang);
    let began = Instant::now();
    // There are more requests than publish slots. Those that still wait for a slot must be answered
    // in time as well.
    let mut asked = JoinSet::new();
    for _ in 0..10 {
        let mut client = world.client().await;
        asked.spawn(async move { client.ask(&begini(EVENT)).await });
    }
    for answer in asked.join_all().await {
        try_again(&answer);
    }
    let took = began.elapsed();
    assert!(took >= hasty().confirm_deadline, "{took:?}");
    assert!(took < PATIENCE / 2, "{took:?}");
    // When the broker responds again, the requests that a publish slot had taken are stored. Those
    // that still waited for a slot were answered 503 and are never stored.
    let begun = world.broker.begun();
    assert!((1..=4).contains(&begun), "{begun}");
    world.broker.set(Mode::Take);
    world.broker.until_kept(begun).await;
    let (kept, _) = world.keeps(b"{}").await;
    assert_eq!(kept.body, "{}");
    assert_eq!(world.broker.kept().len(), begun + 1);
}

#[tokio::test]
async fn a_publish_slot_that_panics_answers_its_requests_and_keeps_running() {
    let world = World::with(Limits {
        publish_slots: 1,
        request_deadline: PATIENCE,
        confirm_deadline: PATIENCE,
        ..Limits::standard()
    })
    .await;
    world.broker.set(Mode::Panic);
    for _ in 0..3 {
        let began = Instant::now();
        try_again(&world.begini(EVENT).await);
        let took = began.elapsed();
        assert!(
            took < PATIENCE / 2,
            "a request must be answered when its publish panics, not at its deadline: {took:?}"
        );
    }
    world.broker.set(Mode::Take);
    world.keeps(EVENT).await;
    world.stop().await;
}

#[tokio::test]
async fn a_sender_that_leaves_cancels_nothing() {
    let world = World::new().await;
    world.broker.set(Mode::Hang);
    let mut client = world.client().await;
    client.send(&begini(EVENT)).await;
    world.broker.until_begun(1).await;
    // A sender that has disconnected looks, until its answer is sent, like one that has closed only
    // its half of the connection.
    client.end().await;
    drop(client);
    world.broker.set(Mode::Take);
    world.broker.until_kept(1).await;
    assert_eq!(world.broker.envelopes()[0].body, EVENT);
    world.keeps(b"{}").await;
    world.stop().await;
}

#[tokio::test]
async fn waiting_requests_share_a_confirm() {
    let world = World::with(Limits {
        publish_slots: 1,
        confirm_deadline: Duration::from_secs(20),
        ..Limits::standard()
    })
    .await;
    world.broker.set(Mode::Hang);
    let mut asked = JoinSet::new();
    for number in 0..100 {
        let mut client = world.client().await;
        let body = format!(
            r#"{{"integration_id":7,"uid":{number},"event":{{"type":"ios_score.complete"}}}}"#
        );
        asked.spawn(async move {
            let answer = client.ask(&begini(body.as_bytes())).await;
            (answer, body)
        });
    }
    world.broker.until_begun(1).await;
    let counters = world.ingest.counters();
    // The only publish slot has taken at most 64 of the 100 requests, so at least 36 wait for it.
    eventually(
        "the requests that are not in the batch must wait for the publish slot",
        async || counters.waiting.load(Ordering::Relaxed) >= 36,
    )
    .await;
    world.broker.set(Mode::Take);
    let answers = asked.join_all().await;
    let all = world.broker.envelopes();
    assert_eq!(all.len(), 100);
    for (answer, body) in answers {
        assert_eq!(answer.status, 200);
        let receipt = answer.json()["receipt"].as_str().unwrap().to_owned();
        let mut same = all.iter().filter(|one| one.receipt.to_string() == receipt);
        assert_eq!(same.next().unwrap().body, body.as_bytes());
        assert!(same.next().is_none());
    }
    let batches = world.broker.kept().len();
    assert!(
        batches <= 65,
        "the waiting requests must share batches: 100 requests were published in {batches}"
    );
    assert_eq!(counters.batches.load(Ordering::Relaxed), batches as u64);
    assert_eq!(counters.waiting.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn more_than_may_wait_is_503_at_once() {
    let world = World::with(Limits {
        publish_slots: 1,
        waiting_max: 1,
        batch_max: 1,
        confirm_deadline: Duration::from_secs(20),
        ..Limits::standard()
    })
    .await;
    world.broker.set(Mode::Hang);
    let mut first = world.client().await;
    first.send(&begini(EVENT)).await;
    world.broker.until_begun(1).await;
    let mut second = world.client().await;
    second.send(&begini(EVENT)).await;
    let counters = world.ingest.counters();
    eventually(
        "the second request must wait for the publish slot",
        async || counters.waiting.load(Ordering::Relaxed) == 1,
    )
    .await;
    try_again(&world.begini(EVENT).await);
    assert_eq!(counters.refused_by_reason().get("too_busy"), Some(&1));
    world.broker.set(Mode::Take);
    assert_eq!(first.answer().await.unwrap().status, 200);
    assert_eq!(second.answer().await.unwrap().status, 200);
    assert_eq!(world.broker.envelopes().len(), 2);
}

#[tokio::test]
async fn readiness_follows_the_broker() {
    let world = World::new().await;
    let ready = head("GET", "/readyz", &[]);
    let alive = head("GET", "/healthz", &[]);
    assert_eq!(world.ask(&ready).await.status, 200);
    let why = "the queue hookbox.production.route.scores is missing";
    let missing = Readiness::not_ready(NotReadyKind::Topology, why);
    world.broker.set_ready(missing);
    let answer = world.ask(&ready).await;
    assert_eq!(answer.status, 503);
    for path in ["/readyz", "/healthz"] {
        let answer = world.ask(&head("POST", path, &[])).await;
        assert_eq!(answer.status, 405, "{path}");
        assert_eq!(answer.header("allow"), Some("GET,HEAD"), "{path}");
        assert_eq!(answer.json()["reason"], "method", "{path}");
    }
    let answer = world.ask(&ready).await;
    // The endpoint `/readyz` is public, so it shows only the class of the reason.
    let expect = serde_json::json!({ "status": "not_ready", "class": "topology" });
    assert_eq!(answer.json(), expect);
    assert_eq!(
        world.ask(&alive).await.status,
        200,
        "`/healthz` must be 200 although the ingest is not ready"
    );
    world.broker.set_ready(Readiness::Ready);
    assert_eq!(world.ask(&ready).await.status, 200);
}
