//! Tests that a message which the broker refuses blocks no other message and is not lost.

use hookbox_testkit::eventually::eventually;

use crate::broker::{AWAY, Manner, WELL};
use crate::world::{World, batch};

/// The largest message that the broker of these tests accepts, in bytes. When a larger message
/// arrives, the broker closes the connection.
const BYTES_MAX: usize = 20_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_too_large_for_the_broker_lets_the_others_past_and_is_kept() {
    let world = World::new(AWAY).await;
    world.publish(0..1).await;
    world.publish_to("a", &batch(1..2, BYTES_MAX)).await;
    for number in 2..10 {
        world.publish(number..number + 1).await;
    }
    world.publish_to("b", &batch(0..1, 10)).await;
    let strict = Manner {
        bytes_max: BYTES_MAX,
        ..WELL
    };
    world.broker.set(strict);
    eventually(
        "the other messages must overtake the message that the broker refuses",
        async || world.broker.got("a").len() == 9,
    )
    .await;
    assert_eq!(world.broker.got("a"), [0, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(world.broker.got("b"), [0]);
    eventually(
        "the message that the broker refuses must be counted as refused",
        async || world.refused() == 1,
    )
    .await;
    // Only the refused message is left in the spool, so spooling must end: sooner or later, a new
    // event must go directly to the broker.
    let mut next = 10;
    loop {
        let kept = world.kept();
        world.publish(next..next + 1).await;
        next += 1;
        if world.kept() == kept {
            break;
        }
    }
    assert_eq!((world.events(), world.refused()), (1, 1));
    world.broker.set(WELL);
    eventually(
        "the refused message must be forwarded when the broker accepts messages of its size",
        async || world.broker.got("a").contains(&1),
    )
    .await;
    eventually(
        "the spool must become empty after the refused message was forwarded",
        async || (world.events(), world.refused()) == (0, 0),
    )
    .await;
    world.end().await;
}

/// When the queue of a route is full, the broker rejects every message of that route. Then no
/// message may overtake the first one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_takes_nothing_lets_nothing_past() {
    let world = World::new(AWAY).await;
    for number in 0..5 {
        world.publish(number..number + 1).await;
    }
    world.broker.set(Manner {
        rejects: true,
        ..WELL
    });
    let begun = world.broker.begun();
    eventually(
        "the spool must try the rejected message again and again",
        async || world.broker.begun() >= begun + 6,
    )
    .await;
    assert_eq!((world.broker.got("a").len(), world.refused()), (0, 0));
    world.broker.set(WELL);
    eventually(
        "every spooled event must be forwarded when the broker accepts messages again",
        async || world.broker.got("a").len() == 5,
    )
    .await;
    assert_eq!(world.broker.got("a"), [0, 1, 2, 3, 4]);
    world.end().await;
}
