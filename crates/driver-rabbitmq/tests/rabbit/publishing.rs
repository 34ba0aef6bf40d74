//! Publishing to a queue that somebody deleted.

use hookbox_driver::{Broker, PublishErrorKind};

use crate::world::{World, batch, route, take, until_not_ready, until_ready};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_is_never_ok_and_is_declared_again() {
    let world = World::new().await;
    let rabbit = world.open().await;
    rabbit.publish(&[route()], &batch("before")).await.unwrap();
    assert_eq!(world.delete(&world.queue()).await, 1);
    let (published, why) = tokio::join!(
        async { rabbit.publish(&[route()], &batch("into nothing")).await },
        until_not_ready(&rabbit),
    );
    let error = published.unwrap_err();
    assert_eq!(error.kind, PublishErrorKind::Unroutable, "{error:?}");
    assert!(why.contains("does not exist"), "{why}");
    until_ready(&rabbit).await;
    assert_eq!(world.waiting(&world.queue()).await, Some(0));
    rabbit.publish(&[route()], &batch("after")).await.unwrap();
    take(&rabbit, "after").await;
    rabbit.close().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_batch_for_two_queues_one_missing_is_not_ok() {
    let world = World::new().await;
    let rabbit = world.open().await;
    let nowhere = "nowhere".parse().unwrap();
    let published = rabbit.publish(&[route(), nowhere], &batch("half")).await;
    assert_eq!(published.unwrap_err().kind, PublishErrorKind::Unroutable);
    until_ready(&rabbit).await;
    // Stored in one of the two all the same: an error says nothing about what was stored.
    take(&rabbit, "half").await;
    rabbit.close().await;
    world.finish().await;
}

#[tokio::test]
async fn a_batch_over_the_bound_in_flight_is_published_alone() {
    let world = World::new().await;
    let mut options = world.options();
    options.in_flight_bytes_max = 10;
    let rabbit = hookbox_driver_rabbitmq::Rabbit::open(options)
        .await
        .unwrap();
    let text = "longer than ten bytes";
    rabbit.publish(&[route()], &batch(text)).await.unwrap();
    take(&rabbit, text).await;
    rabbit.close().await;
    world.finish().await;
}
