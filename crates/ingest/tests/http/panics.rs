//! Tests requests during which hookbox's own code panics.

use std::sync::atomic::Ordering;

use hookbox_ingest::Limits;

use crate::world::{EVENT, World, begini, eventually};

/// The number of panics. It exceeds the number of places, so that the test notices a place that is
/// not freed.
const PANICS: usize = 3;

/// Where the clock panics: at its first read, when the receipt is made before the body is read, and
/// at its second read, when the signature is checked after it.
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
            world.clock.break_at(place);
            unlucky.send(&begini(EVENT)).await;
            // The request is not accepted, so its sender tries again.
            assert!(unlucky.answer().await.is_none());
            assert_eq!(world.clock.until_broken(), 0, "the clock did panic");
            assert_eq!(neighbour.ask(&begini(EVENT)).await.status, 200);
        }
    }
    let good = 1 + PLACES.len() * PANICS;
    assert_eq!(world.broker.kept().len(), good);
    world.keeps(EVENT).await;
    let counters = world.ingest.counters();
    eventually("nothing is in flight", || {
        counters.in_flight.load(Ordering::Relaxed) == 0
    })
    .await;
    assert_eq!(counters.accepted.load(Ordering::Relaxed), good as u64 + 1);
    world.stop().await;
}
