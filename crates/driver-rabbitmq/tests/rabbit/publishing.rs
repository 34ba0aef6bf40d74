//! Tests of publishing to queues that another client has deleted or replaced.

use std::time::Duration;

use hookbox_driver::{Broker, PublishErrorKind, Readiness};
use hookbox_driver_rabbitmq::{Rabbit, declare};
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::lateness::Lateness;
use tokio::time::Instant;

use crate::world::{World, batch, open, route, take, until_not_ready, until_ready};

/// The time within which the driver promises to name a deleted or replaced queue.
const NAMED_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_is_never_ok_until_it_is_declared() {
    let world = World::new().await;
    let rabbit = world.open().await;
    // The driver also checks its queues when nothing is published. If such a check has found that
    // the queue is deleted, the driver does not send the message at all, so the test tries again.
    while publish_into_nothing(&world, &rabbit).await != PublishErrorKind::Unroutable {
        assert_eq!(world.declare_missing().await, [world.queue()]);
        until_ready(&rabbit).await;
    }
    until_missing(&rabbit, &world.queue()).await;
    assert_eq!(
        world.waiting(&world.queue()).await,
        None,
        "the driver must not declare the queue again"
    );
    let refused = rabbit.publish(&[route()], &batch("meanwhile")).await;
    assert_eq!(refused.unwrap_err().kind, PublishErrorKind::Unavailable);
    assert_eq!(world.declare_missing().await, [world.queue()]);
    until_ready(&rabbit).await;
    assert_eq!(world.waiting(&world.queue()).await, Some(0));
    rabbit.publish(&[route()], &batch("after")).await.unwrap();
    take(&rabbit, "after").await;
    rabbit.close().await;
    world.finish().await;
}

/// Deletes the queue, publishes to it, and returns the kind of the error. Also checks that
/// readiness names the missing queue.
async fn publish_into_nothing(world: &World, rabbit: &Rabbit) -> PublishErrorKind {
    rabbit.publish(&[route()], &batch("before")).await.unwrap();
    assert_eq!(world.delete(&world.queue()).await, 1);
    let (published, why) = tokio::join!(
        async { rabbit.publish(&[route()], &batch("into nothing")).await },
        until_not_ready(rabbit),
    );
    let kind = published.unwrap_err().kind;
    let expect = match kind {
        PublishErrorKind::Unroutable => &["does not exist", "is missing"][..],
        PublishErrorKind::Unavailable => &["is missing"],
        other => panic!("{other:?}: {why}"),
    };
    assert!(expect.iter().any(|part| why.contains(part)), "{why}");
    kind
}

/// Waits until readiness reports this queue as missing.
async fn until_missing(rabbit: &Rabbit, queue: &str) {
    eventually("readiness must name the queue as missing", async || {
        let readiness = rabbit.readiness();
        match &readiness {
            Readiness::NotReady { why, .. }
                if why.contains(queue) && why.contains("is missing") =>
            {
                Ok(())
            }
            Readiness::NotReady { .. } | Readiness::Ready => Err(readiness),
        }
    })
    .await;
}

/// The driver must name the queue although nothing is published and the test does not read the
/// readiness meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_or_replaced_is_named_within_five_seconds() {
    let world = World::new().await;
    let rabbit = world.open().await;
    until_ready(&rabbit).await;
    let lateness = Lateness::measure();
    let is_in_time = |began: Instant| {
        let (took, bound) = (began.elapsed(), NAMED_WITHIN + lateness.allowance());
        assert!(took < bound, "{took:?}");
    };
    world.delete(&world.dead()).await;
    let began = Instant::now();
    until_missing(&rabbit, &world.dead()).await;
    is_in_time(began);
    world.declare_missing().await;
    until_ready(&rabbit).await;

    world.delete(&world.queue()).await;
    world.declare(&world.queue(), &[]).await;
    let began = Instant::now();
    // A check that ran between the deletion and the new declaration may have found the queue
    // missing, so the test waits for the next check.
    eventually(
        "readiness must report that the queue differs from its declaration",
        async || {
            let readiness = rabbit.readiness();
            match &readiness {
                Readiness::NotReady { why, .. } if why.contains("PRECONDITION_FAILED") => {
                    assert!(why.contains(&world.queue()), "{why}");
                    Ok(())
                }
                Readiness::NotReady { .. } | Readiness::Ready => Err(readiness),
            }
        },
    )
    .await;
    is_in_time(began);
    let refused = rabbit
        .publish(&[route()], &batch("into a classic queue"))
        .await;
    assert!(refused.is_err());
    assert_eq!(
        world.waiting(&world.queue()).await,
        Some(0),
        "the driver must not publish into the queue that replaced its own"
    );
    rabbit.close().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_batch_for_two_queues_one_missing_is_not_ok() {
    let world = World::new().await;
    let mut options = world.options();
    let nowhere: hookbox_event::RouteName = "nowhere".parse().unwrap();
    options.routes.push(nowhere.clone());
    let rabbit = open(options.clone()).await;
    world
        .delete(&world.queue().replace(route().as_str(), "nowhere"))
        .await;
    let published = rabbit.publish(&[route(), nowhere], &batch("half")).await;
    assert_eq!(published.unwrap_err().kind, PublishErrorKind::Unroutable);
    declare(&options).await.unwrap();
    until_ready(&rabbit).await;
    // The queue that existed must have stored the message. An error of a publish does not mean that
    // no queue has stored it.
    take(&rabbit, "half").await;
    rabbit.close().await;
    world.finish().await;
}

#[tokio::test]
async fn a_batch_over_the_in_flight_limit_is_published_by_itself() {
    let world = World::new().await;
    let mut options = world.options();
    options.in_flight_bytes_max = 10;
    let rabbit = open(options).await;
    let text = "longer than ten bytes";
    rabbit.publish(&[route()], &batch(text)).await.unwrap();
    take(&rabbit, text).await;
    rabbit.close().await;
    world.finish().await;
}
