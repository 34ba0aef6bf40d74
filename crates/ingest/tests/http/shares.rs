//! Tests that other senders are answered while senders without a key take as many connections and
//! as much memory as they can.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookbox_ingest::Limits;
use hookbox_testkit::eventually::eventually;

use crate::client::{Client, head};
use crate::fake::Mode;
use crate::world::{EVENT, World, begini};

const KIB: usize = 1024;

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Opens a connection that announces a body and sends all of it except the last byte.
async fn unfinished(world: &World, host: u8, bytes: usize) -> Client {
    let mut client = world.client_from(host).await;
    let length = bytes.to_string();
    let headers = [("content-length", length.as_str())];
    client.offer(&head("POST", "/hooks/begini", &headers)).await;
    client.offer(&vec![b' '; bytes - 1]).await;
    client
}

/// Sends a body of this length with a valid signature, and returns the status of the answer.
async fn genuine(world: &World, bytes: usize) -> u16 {
    world.begini(&vec![b' '; bytes]).await.status
}

#[tokio::test]
async fn bodies_of_one_address_keep_no_other_out() {
    let world = World::new().await;
    let counters = world.ingest.counters();
    let mut unsigned = Vec::new();
    for number in 0..68 {
        unsigned.push(unfinished(&world, 2, 1024 * KIB).await);
        for bytes in [0, EVENT.len(), 16 * KIB, 16 * KIB + 1] {
            assert_eq!(
                genuine(&world, bytes).await,
                200,
                "a genuine body of {bytes} bytes must be accepted beside large body {number}"
            );
        }
    }
    assert_eq!(genuine(&world, 1024 * KIB).await, 200);
    // One address may use a sixteenth of the 64 MiB of memory for bodies, which is enough for four
    // bodies of 1 MiB.
    eventually(
        "all but four requests of the address must be refused",
        async || counters.refused_by_reason().get("address_busy") >= Some(&64),
    )
    .await;
    drop(unsigned);
    eventually(
        "no request may be in flight, because only then is the memory of the address free",
        async || read(&counters.in_flight) == 0,
    )
    .await;
    let mut client = world.client_from(2).await;
    assert_eq!(
        client.ask(&begini(&vec![b' '; 1024 * KIB])).await.status,
        200
    );
}

#[tokio::test]
async fn a_quarter_of_the_memory_is_kept_for_small_bodies() {
    let world = World::with(Limits {
        body_max: 64 * KIB,
        body_bytes_in_flight_max: 1024 * KIB,
        ..Limits::standard()
    })
    .await;
    let counters = world.ingest.counters();
    let mut large = Vec::new();
    for host in 2..14 {
        large.push(unfinished(&world, host, 64 * KIB).await);
    }
    // Each of the twelve bodies lacks one byte. Large bodies may use three quarters of the memory.
    // Once the twelve bodies have arrived except for these bytes, only 12 bytes of the three
    // quarters are free.
    eventually(
        "the twelve requests with unfinished bodies must be in flight",
        async || read(&counters.in_flight) == 12,
    )
    .await;
    let mut tries = 0;
    while genuine(&world, 16 * KIB + 1).await == 200 {
        tries += 1;
        assert!(
            tries < 1_000,
            "large bodies must not use the memory reserved for small ones"
        );
    }
    assert_eq!(counters.refused_by_reason().get("too_busy"), Some(&1));
    assert_eq!(genuine(&world, 16 * KIB).await, 200);
    assert_eq!(genuine(&world, EVENT.len()).await, 200);
    drop(large);
    eventually(
        "the twelve requests with unfinished bodies must end",
        async || read(&counters.in_flight) == 0,
    )
    .await;
    assert_eq!(genuine(&world, 64 * KIB).await, 200);
}

#[tokio::test]
async fn connections_without_a_verified_request_make_room() {
    const PLACES: usize = 64;
    let world = World::with(Limits {
        connections_max: PLACES,
        connections_per_address_max: PLACES / 16,
        ..Limits::standard()
    })
    .await;
    let counters = world.ingest.counters();
    let alive = head("GET", "/healthz", &[]);
    let mut regular = world.client().await;
    assert_eq!(regular.ask(&begini(EVENT)).await.status, 200);
    let mut held: Vec<Client> = Vec::new();
    for host in 2..=21 {
        for _ in 0..4 {
            let mut client = world.client_from(host).await;
            assert_eq!(client.ask(&alive).await.status, 200);
            held.push(client);
        }
        // Every connection that is still open sends another request, so none is idle for long.
        for client in &mut held {
            if client.offer(&alive).await {
                client.answer().await;
            }
        }
        assert_eq!(
            world.begini(EVENT).await.status,
            200,
            "a genuine sender must be answered on a new connection"
        );
        assert_eq!(
            regular.ask(&begini(EVENT)).await.status,
            200,
            "the connection with a verified request must stay open and be answered"
        );
    }
    let open = read(&counters.connections);
    assert!(
        (PLACES as u64 - 4..=PLACES as u64).contains(&open),
        "{open}"
    );
    assert!(
        read(&counters.connections_closed) >= 17,
        "80 connections were opened for 63 places, so at least 17 must be closed"
    );
    // One address may take a sixteenth of the places and no more: four, even if other places are
    // free.
    drop(held);
    eventually("every unverified connection must end", async || {
        read(&counters.connections) == 1
    })
    .await;
    assert_eq!(read(&counters.connections_unverified), 0);
    assert_eq!(read(&counters.connections_refused), 0);
    let (begun, rest) = alive.split_at(10);
    let mut four = Vec::new();
    for _ in 0..4 {
        let mut client = world.client_from(2).await;
        client.send(begun).await;
        four.push(client);
    }
    eventually("the four unverified connections must be busy", async || {
        read(&counters.connections) == 5 && read(&counters.connections_idle) == 1
    })
    .await;
    assert_eq!(read(&counters.connections_unverified), 4);
    assert!(world.client_from(2).await.closes().await);
    assert_eq!(read(&counters.connections_refused), 1);
    assert_eq!(four[0].ask(rest).await.status, 200);
}

#[tokio::test]
async fn health_checks_are_answered_when_every_place_is_taken() {
    let world = World::with(Limits {
        connections_max: 2,
        confirm_deadline: Duration::from_secs(20),
        ..Limits::standard()
    })
    .await;
    let counters = world.ingest.counters();
    world.broker.set(Mode::Hang);
    let mut waiting = Vec::new();
    for host in [2, 3] {
        let mut client = world.client_from(host).await;
        client.send(&begini(EVENT)).await;
        waiting.push(client);
    }
    eventually(
        "both connections must have a verified request",
        async || read(&counters.connections) == 2 && read(&counters.connections_unverified) == 0,
    )
    .await;
    // These connections send nothing. There are 40 of them, more than the 32 places for health
    // checks.
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(world.client().await);
    }
    for path in ["/healthz", "/readyz"] {
        let answer = world.ask(&head("GET", path, &[])).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("connection"), Some("close"));
    }
    let refused = world.begini(EVENT).await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.header("retry-after"), Some("5"));
    eventually(
        "a connection that was admitted for a health check must be closed after one request",
        async || read(&counters.connections_reserve) == 31,
    )
    .await;
    // The two connections whose requests wait for a confirm were not closed.
    world.broker.set(Mode::Take);
    for client in &mut waiting {
        assert_eq!(client.answer().await.unwrap().status, 200);
    }
    drop(waiting);
    eventually("the two ordinary places must be free again", async || {
        read(&counters.connections) <= 32
    })
    .await;
    assert_eq!(world.begini(EVENT).await.status, 200);
}
