//! A request in whose middle our own code breaks.

use std::sync::atomic::Ordering;

use hookbox_ingest::Limits;

use crate::world::{EVENT, World, begini, eventually};

/// More than there are connections: a place that is not given back would be missed.
const PANICS: usize = 3;

/// Before the body is read, when the receipt is made; and after it, when the signature is checked.
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
            // Not accepted: its sender tries again.
            assert!(unlucky.answer().await.is_none());
            assert_eq!(world.clock.until_broken(), 0, "it did break");
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
