//! Tests the order of arrival: into the spool, out of the spool, and across a restart.

use crate::broker::{AWAY, Manner, WELL};
use crate::world::{World, batch, eventually};

/// The first event is on its way to an unresponsive broker when the next ones are refused. The
/// later ones wait, so the first is spooled before them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_when_keeping_begins_is_kept_first() {
    let silent = Manner {
        is_silent: true,
        ..WELL
    };
    let world = World::new(silent).await;
    let later = async {
        eventually("the publish of the first event has started", || {
            world.broker.begun() == 1
        })
        .await;
        world.broker.set(Manner {
            rejects: true,
            ..WELL
        });
        tokio::join!(biased; world.publish(1..2), world.publish(2..3));
        world.broker.set(WELL);
    };
    tokio::join!(world.publish(0..1), later);
    assert_eq!(world.kept(), 3);
    eventually("all events are forwarded", || {
        world.broker.got("a").len() == 3
    })
    .await;
    assert_eq!(world.broker.got("a"), [0, 1, 2]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_earlier_process_has_kept_goes_before_anything_newer() {
    let world = World::new(AWAY).await;
    for number in 0..100 {
        world.publish(number..number + 1).await;
    }
    let world = world.restart().await;
    world.publish(100..101).await;
    world.broker.set(WELL);
    for number in 101..200 {
        world.publish(number..number + 1).await;
    }
    eventually("all events are forwarded", || {
        world.broker.got("a").len() == 200
    })
    .await;
    assert_eq!(world.broker.got("a"), (0..200).collect::<Vec<_>>());
    assert_eq!(world.broker.got("b").len(), 0);
    world.end().await;
}

/// A message for two routes is spooled once for each. A large message is forwarded alone, between
/// small ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_and_small_ones_keep_their_order() {
    let world = World::new(AWAY).await;
    for number in 0..30 {
        let body_bytes = if number % 10 == 4 { 300 * 1024 } else { 10 };
        for route in ["a", "b"] {
            world
                .publish_to(route, &batch(number..number + 1, body_bytes))
                .await;
        }
    }
    world.broker.set(WELL);
    for route in ["a", "b"] {
        eventually("all events are forwarded", || {
            world.broker.got(route).len() == 30
        })
        .await;
        assert_eq!(world.broker.got(route), (0..30).collect::<Vec<_>>());
    }
    assert_eq!(
        world.broker.largest(),
        9,
        "the events between two large ones are joined"
    );
    world.end().await;
}
