//! Tests senders that close their half of the connection after their request. They must be answered
//! all the same (RFC 9112, section 9.6).

use std::sync::atomic::Ordering;
use std::time::Duration;

use hookbox_ingest::Limits;
use hookbox_testkit::eventually::eventually;

use crate::client::{chunked, head};
use crate::fake::Mode;
use crate::world::{EVENT, World, begini, signed};

#[tokio::test]
async fn a_half_closed_connection_gets_its_answer() {
    let world = World::new().await;
    let chunks = [
        ("x-signature", &*signed(EVENT)),
        ("transfer-encoding", "chunked"),
    ];
    let chunks = [head("POST", "/hooks/begini", &chunks), chunked(EVENT)].concat();
    for _ in 0..20 {
        for request in [begini(EVENT), chunks.clone()] {
            let mut client = world.client().await;
            client.send(&request).await;
            client.end().await;
            assert_eq!(client.answer().await.expect("an answer").status, 200);
            assert!(client.closes().await);
        }
    }
    assert_eq!(world.broker.envelopes().len(), 40);
}

#[tokio::test]
async fn a_half_closed_connection_is_answered_after_the_confirm_or_refusal() {
    let world = World::new().await;
    world.broker.set(Mode::Hang);
    let mut client = world.client().await;
    client.send(&begini(EVENT)).await;
    client.end().await;
    world.broker.until_begun(1).await;
    world.broker.set(Mode::Take);
    assert_eq!(client.answer().await.expect("an answer").status, 200);
    assert!(client.closes().await);
    // Two requests that are sent together are both answered 200. A request whose body is one byte
    // too short is answered 400.
    let mut client = world.client().await;
    client.send(&[begini(EVENT), begini(b"{}")].concat()).await;
    client.end().await;
    for _ in 0..2 {
        assert_eq!(client.answer().await.expect("an answer").status, 200);
    }
    assert!(client.closes().await);
    let request = begini(EVENT);
    let mut client = world.client().await;
    client.send(&request[..request.len() - 1]).await;
    client.end().await;
    assert_eq!(client.answer().await.expect("an answer").status, 400);
    assert!(client.closes().await);
    assert_eq!(world.broker.envelopes().len(), 3);
}

#[tokio::test]
async fn a_half_closed_connection_is_answered_while_the_process_drains() {
    let mut world = World::new().await;
    world.broker.set(Mode::Hang);
    let mut client = world.client().await;
    client.send(&begini(EVENT)).await;
    client.end().await;
    world.broker.until_begun(1).await;
    world.shutdown.cancel();
    world.broker.set(Mode::Take);
    assert_eq!(client.answer().await.expect("an answer").status, 200);
    world.until_stopped().await;
    assert_eq!(world.broker.envelopes().len(), 1);
}

/// A sender that has disconnected after its request looks like one that has closed only its half of
/// the connection. The difference shows only when the answer is sent. Until then, the connection
/// must count as open and keep the memory for its body; after that, it must not.
#[tokio::test]
async fn a_disconnected_sender_is_noticed_when_it_is_answered() {
    let world = World::with(Limits {
        confirm_deadline: Duration::from_millis(200),
        ..Limits::standard()
    })
    .await;
    world.broker.set(Mode::Hang);
    let mut client = world.client().await;
    client.send(&begini(EVENT)).await;
    world.broker.until_begun(1).await;
    drop(client);
    let counters = world.ingest.counters();
    eventually(
        "the connection of the disconnected sender must end",
        async || counters.connections.load(Ordering::Relaxed) == 0,
    )
    .await;
    assert_eq!(counters.in_flight.load(Ordering::Relaxed), 0);
    // A sender that disconnects in the middle of a request is noticed at once.
    let mut client = world.client().await;
    client.send(&begini(EVENT)[..40]).await;
    drop(client);
    let mut client = world.client().await;
    let body = [("content-length", "70")];
    client.send(&head("POST", "/hooks/begini", &body)).await;
    drop(client);
    eventually("the connections of both senders must end", async || {
        counters.connections.load(Ordering::Relaxed) == 0
    })
    .await;
    world.broker.set(Mode::Take);
    world.broker.until_kept(1).await;
    world.stop().await;
}
