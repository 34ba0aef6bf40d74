//! Tests that a panic in hookbox's own code fails only the request during which it happens, and
//! frees its connection and its memory.

use std::sync::atomic::Ordering;

use hookbox_ingest::Limits;
use hookbox_testkit::eventually::eventually;

use crate::world::{EVENT, World, begini};

/// The number of panics at each of [`PLACES`]. It exceeds the number of connections that may be
/// open, so that the test notices if a panic does not free its connection.
const PANICS: usize = 3;

/// At which read of the clock the clock panics, counted within one request. The first read makes
/// the receipt id, before the body is read. The second read checks the signature, after the body
/// was read.
const PLACES: [u64; 2] = [1, 2];

#[tokio::test]
async fn a_panic_costs_its_own_request_and_no_other() {
    let world = World::with(Limits {
        connections_max: 2,
        connections_per_address_max: 2,
        body_bytes_in_flight_max: EVENT.len(),
        ..Limits::standard()
    })
    .await;
    let mut neighbour = world.client().await;
    assert_eq!(neighbour.ask(&begini(EVENT)).await.status, 200);
    for place in PLACES {
        for _ in 0..PANICS {
            let mut unlucky = world.client().await;
            world.clock.panic_at(place);
            unlucky.send(&begini(EVENT)).await;
            // The sender gets no answer, so it sends its request again.
            assert!(unlucky.answer().await.is_none());
            assert_eq!(
                world.clock.until_panic(),
                0,
                "the clock must have panicked during this request"
            );
            assert_eq!(neighbour.ask(&begini(EVENT)).await.status, 200);
        }
    }
    let good = 1 + PLACES.len() * PANICS;
    assert_eq!(world.broker.kept().len(), good);
    world.keeps(EVENT).await;
    let counters = world.ingest.counters();
    eventually("no request may be in flight after the panics", async || {
        counters.in_flight.load(Ordering::Relaxed) == 0
    })
    .await;
    assert_eq!(counters.accepted.load(Ordering::Relaxed), good as u64 + 1);
    world.stop().await;
}
