//! Tests that a route whose queue takes nothing affects no other route, and that accept reports
//! wait for the events that they cover.

use hookbox_driver::{Broker, PublishErrorKind, Readiness};
use hookbox_testkit::eventually::eventually;

use crate::broker::{AWAY, Manner, WELL};
use crate::world::{World, batch};

/// The size of a spool that is full after a few large events, in bytes.
const SMALL: u64 = 4 << 20;

/// A body of which the small spool holds less than a hundred.
const LARGE: usize = 256 * 1024;

/// How a broker behaves when the queue of the route `a` takes nothing.
const A_IS_FULL: Manner = Manner {
    full: Some("a"),
    ..WELL
};

/// Waits until the spool has tried several times to forward a message. Whatever it would forward
/// beside that message, it has forwarded by then.
async fn several_tries(world: &World) {
    let begun = world.broker.begun();
    eventually(
        "the spool must try the rejected message again and again",
        async || world.broker.begun() >= begun + 3,
    )
    .await;
}

/// The events of the route `a` fill the spool. Those of `b` must still go to the broker, as they
/// would without a spool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_takes_nothing_fills_the_spool_and_refuses_no_other() {
    let world = World::with_spool_of(Some(SMALL), A_IS_FULL).await;
    let mut stored = 0;
    let refused = loop {
        let large = batch(stored..stored + 1, LARGE);
        match world.try_to_publish(&["a"], &large).await {
            Ok(()) => stored += 1,
            Err(error) => break error.kind,
        }
        assert!(stored < 100, "the spool must become full");
    };
    assert_eq!(refused, PublishErrorKind::Blocked);
    assert_eq!(world.kept(), stored);
    for number in 0..50 {
        world.publish_to("b", &batch(number..number + 1, 10)).await;
        // Between them, the broker does not take an event for both routes, and neither does the
        // spool.
        let both = batch(1_000..1_001, LARGE);
        let refused = world.try_to_publish(&["a", "b"], &both).await.unwrap_err();
        assert_eq!(refused.kind, PublishErrorKind::Blocked);
    }
    let mut got = world.broker.got("b");
    got.retain(|number| *number < 1_000);
    assert_eq!(got, (0..50).collect::<Vec<_>>());
    assert_eq!(world.kept(), stored, "no event of b may go to the spool");
    assert_eq!(world.spooling.readiness(), Readiness::Ready);
    world.broker.set(WELL);
    eventually(
        "every spooled event must be forwarded when the broker accepts messages again",
        async || world.broker.got("a").len() as u64 == stored,
    )
    .await;
    assert_eq!(world.broker.got("a"), (0..stored).collect::<Vec<_>>());
    world.end().await;
}

/// The first event for both routes is rejected as a whole, so it is spooled for both. From then on,
/// only the part of `a` may be spooled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_for_two_routes_is_spooled_only_for_the_one_that_takes_nothing() {
    let world = World::new(A_IS_FULL).await;
    let publish = async |number: u64| {
        let batch = batch(number..number + 1, 10);
        world.try_to_publish(&["a", "b"], &batch).await.unwrap();
    };
    publish(0).await;
    assert_eq!(world.kept(), 2);
    let mut next = 1;
    let direct = loop {
        let kept = world.kept();
        publish(next).await;
        next += 1;
        if world.kept() == kept + 1 {
            break next;
        }
    };
    for _ in 0..50 {
        publish(next).await;
        next += 1;
        assert_eq!(world.broker.got("b").last(), Some(&(next - 1)));
    }
    assert_eq!(world.kept(), 2 * (direct - 1) + (next - direct) + 1);
    world.broker.set(WELL);
    eventually(
        "every spooled event must be forwarded when the broker accepts messages again",
        async || world.broker.got("a").len() as u64 == next,
    )
    .await;
    assert_eq!(world.broker.got("a"), (0..next).collect::<Vec<_>>());
    // The first event arrives twice, because the broker had taken it for `b` before it rejected it.
    let mut got = world.broker.got("b");
    assert_eq!(got.remove(0), 0);
    assert_eq!(got, (0..next).collect::<Vec<_>>());
    world.end().await;
}

/// What an earlier process has left in the spool belongs to one route.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_only_the_routes_with_spooled_events_are_spooled() {
    let world = World::new(A_IS_FULL).await;
    for number in 0..5 {
        world.publish(number..number + 1).await;
    }
    let world = world.restart().await;
    for number in 0..5 {
        world.publish_to("b", &batch(number..number + 1, 10)).await;
        world.publish(number + 5..number + 6).await;
    }
    assert_eq!(world.broker.got("b"), [0, 1, 2, 3, 4]);
    assert_eq!(world.kept(), 5, "only the events of a may go to the spool");
    world.broker.set(WELL);
    eventually(
        "every spooled event must be forwarded when the broker accepts messages again",
        async || world.broker.got("a").len() == 10,
    )
    .await;
    assert_eq!(world.broker.got("a"), (0..10).collect::<Vec<_>>());
    world.end().await;
}

/// A broker reports that it refuses publishes when it has rejected the latest ones. These may all
/// be those of one route.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_refused_the_events_of_one_route_is_tried_with_those_of_another() {
    let world = World::new(A_IS_FULL).await;
    world.publish(0..1).await;
    world.broker.set(Manner {
        is_refusing: true,
        ..A_IS_FULL
    });
    world.publish_to("b", &batch(0..1, 10)).await;
    assert_eq!((world.broker.got("b"), world.kept()), (vec![0], 1));
    world.broker.set(WELL);
    eventually(
        "the spooled event must be forwarded when the broker accepts messages again",
        async || world.broker.got("a") == [0],
    )
    .await;
    world.end().await;
}

/// Accept reports that cover no spooled event go to the broker. The first one that covers one waits
/// for it, and those behind it wait, too, because the accept reports of an ingest must arrive in
/// their order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accept_report_waits_for_the_events_that_it_covers() {
    let world = World::new(A_IS_FULL).await;
    world.publish(0..1).await;
    world.publish_to("b", &batch(0..1, 10)).await;
    world.report(1, "b").await;
    assert_eq!(world.broker.reports(), [(1, 1)]);
    world.report(2, "a").await;
    world.report(3, "b").await;
    several_tries(&world).await;
    assert_eq!(world.broker.reports(), [(1, 1)]);
    let world = world.restart().await;
    several_tries(&world).await;
    assert_eq!(world.broker.reports(), [(1, 1)]);
    world.broker.set(WELL);
    eventually("the accept reports must be forwarded", async || {
        world.broker.reports().len() == 3
    })
    .await;
    assert_eq!(world.broker.reports(), [(1, 1), (2, 2), (3, 2)]);
    world.end().await;
}

/// An event that arrives while the broker is unavailable, and finds the spool full, is refused. It
/// is not in the spool, so the next event must go to the broker at once when that is available.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_spool_refused_sends_no_later_event_into_the_spool() {
    let world = World::with_spool_of(Some(SMALL), AWAY).await;
    let mut stored = 0;
    let large = |number: u64| batch(number..number + 1, LARGE);
    while world.try_to_publish(&["a"], &large(stored)).await.is_ok() {
        stored += 1;
        assert!(stored < 100, "the spool must become full");
    }
    let refused = world.try_to_publish(&["b"], &large(0)).await.unwrap_err();
    assert_eq!(refused.kind, PublishErrorKind::Blocked);
    world.broker.set(A_IS_FULL);
    let kept = world.kept();
    world.publish_to("b", &batch(1..2, 10)).await;
    assert_eq!((world.broker.got("b"), world.kept()), (vec![1], kept));
    world.broker.set(WELL);
    eventually(
        "every spooled event must be forwarded when the broker accepts messages again",
        async || world.broker.got("a").len() as u64 == stored,
    )
    .await;
    world.end().await;
}
