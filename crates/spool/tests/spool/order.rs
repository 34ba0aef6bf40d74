//! Tests that events reach the broker in the order in which they arrived: when spooling starts,
//! when the spool is emptied, and across a restart.

use hookbox_testkit::eventually::eventually;

use crate::broker::{AWAY, Manner, WELL};
use crate::world::{World, batch};

/// The publish of the first event is waiting for an unresponsive broker when the broker refuses the
/// next two events. The first event must be spooled before those two, although its publish fails
/// last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_when_keeping_begins_is_kept_first() {
    let silent = Manner {
        is_silent: true,
        ..WELL
    };
    let world = World::new(silent).await;
    let later = async {
        eventually(
            "the publish of the first event must start before the broker begins to reject messages",
            async || world.broker.begun() == 1,
        )
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
    eventually(
        "every spooled event must be forwarded to the broker",
        async || world.broker.got("a").len() == 3,
    )
    .await;
    assert_eq!(world.broker.got("a"), [0, 1, 2]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_spooled_by_an_earlier_process_are_forwarded_first() {
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
    eventually(
        "every spooled event must be forwarded to the broker",
        async || world.broker.got("a").len() == 200,
    )
    .await;
    assert_eq!(world.broker.got("a"), (0..200).collect::<Vec<_>>());
    assert_eq!(world.broker.got("b").len(), 0);
    world.end().await;
}

/// The messages of each route must be forwarded in their order. A message that is too large to be
/// joined must be forwarded by itself, between the small messages before and after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_and_small_messages_keep_their_order() {
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
        eventually(
            "every spooled event must be forwarded to the broker",
            async || world.broker.got(route).len() == 30,
        )
        .await;
        assert_eq!(world.broker.got(route), (0..30).collect::<Vec<_>>());
    }
    assert_eq!(
        world.broker.largest(),
        9,
        "the nine small events between two large events must be joined into one message"
    );
    world.end().await;
}
