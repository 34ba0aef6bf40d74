//! Tests the shutdown of an ingest: a request that is under way gets its true answer, and once the
//! ingest no longer listens, no other request is accepted.

use std::time::{Duration, Instant};

use hookbox_driver::PublishErrorKind;
use hookbox_ingest::Limits;
use tokio::net::TcpStream;

use crate::client::head;
use crate::fake::Mode;
use crate::world::{EVENT, World, begini};

/// How long requests are still accepted after the shutdown has started. The time is enough for a
/// few requests on a busy machine.
const LEAD: Duration = Duration::from_secs(3);

/// Waits until the ingest no longer listens.
async fn until_refused(world: &World) {
    let mut tries = 0;
    while TcpStream::connect(world.address).await.is_ok() {
        tries += 1;
        assert!(
            tries < 10_000,
            "the ingest must stop listening, but it still accepts connections"
        );
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_request_under_way_gets_its_true_answer() {
    for (mode, status) in [
        (Mode::Take, 200),
        (Mode::Fail(PublishErrorKind::Rejected), 503),
    ] {
        let mut world = World::new().await;
        world.broker.set(Mode::Hang);
        let mut client = world.client().await;
        client.send(&begini(EVENT)).await;
        world.broker.until_begun(1).await;
        world.shutdown.cancel();
        until_refused(&world).await;
        world.broker.set(mode);
        assert_eq!(client.answer().await.unwrap().status, status);
        assert!(client.closes().await);
        world.until_stopped().await;
        assert_eq!(world.broker.envelopes().len(), usize::from(status == 200));
    }
}

/// A load balancer checks readiness only now and then. Until it has seen that readiness is red, no
/// connection may be refused.
#[tokio::test]
async fn readiness_turns_red_before_anything_is_refused() {
    let mut world = World::leading(LEAD).await;
    let ready = head("GET", "/readyz", &[]);
    let mut kept = world.client().await;
    assert_eq!(kept.ask(&ready).await.status, 200);
    let stopped_at = Instant::now();
    world.shutdown.cancel();
    let red = loop {
        let answer = kept.ask(&ready).await;
        if answer.status == 503 {
            break answer.json();
        }
        assert!(
            stopped_at.elapsed() < LEAD,
            "readiness must turn red while requests are still accepted"
        );
    };
    assert_eq!(red["class"], "draining");
    assert_eq!(world.begini(EVENT).await.status, 200);
    assert_eq!(kept.ask(&begini(EVENT)).await.status, 200);
    assert!(
        stopped_at.elapsed() < LEAD,
        "the requests must be sent before ingest stops accepting; the test ran too slowly"
    );
    assert!(kept.closes().await);
    assert!(stopped_at.elapsed() >= LEAD);
    until_refused(&world).await;
    world.until_stopped().await;
    assert_eq!(world.broker.envelopes().len(), 2);
}

#[tokio::test]
async fn a_body_under_way_is_read_to_its_end() {
    let mut world = World::new().await;
    let request = begini(EVENT);
    let mut client = world.client().await;
    let expect = String::from_utf8(request.clone()).unwrap().replacen(
        "content-length",
        "expect: 100-continue\r\ncontent-length",
        1,
    );
    let (head, body) = expect.split_once("\r\n\r\n").unwrap();
    let continued = client.ask(format!("{head}\r\n\r\n").as_bytes()).await;
    assert_eq!(
        continued.status, 100,
        "the ingest must ask for the body with 100 Continue"
    );
    world.shutdown.cancel();
    until_refused(&world).await;
    let answer = client.ask(body.as_bytes()).await;
    assert_eq!(answer.status, 200);
    assert!(client.closes().await);
    world.until_stopped().await;
    assert_eq!(world.broker.envelopes()[0].body, EVENT);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let mut world = World::new().await;
    let mut fresh = world.client().await;
    let mut used = world.client().await;
    assert_eq!(used.ask(&begini(EVENT)).await.status, 200);
    world.shutdown.cancel();
    assert!(used.closes().await);
    assert!(fresh.closes().await);
    world.until_stopped().await;
}

#[tokio::test]
async fn what_is_open_after_the_grace_is_cut_without_an_answer() {
    let mut world = World::graced(
        Limits {
            confirm_deadline: Duration::from_secs(20),
            ..Limits::standard()
        },
        Duration::from_millis(100),
    )
    .await;
    world.broker.set(Mode::Hang);
    let mut client = world.client().await;
    client.send(&begini(EVENT)).await;
    world.broker.until_begun(1).await;
    world.shutdown.cancel();
    assert!(
        client.answer().await.is_none(),
        "the connection must be cut without an answer"
    );
    // The connection is gone, but the publish slot still waits for the broker's confirm, so the
    // event is stored.
    world.broker.set(Mode::Take);
    world.until_stopped().await;
    assert_eq!(world.broker.envelopes()[0].body, EVENT);
}
