//! Tests of consuming: from queues that are deleted, with drivers that are closed or dropped
//! meanwhile, and of messages that exceed the delivery limit.

use std::time::Duration;

use hookbox_driver::{Broker, FaultKind, Queue};
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::proxy::{Mode, Proxy};
use tokio::time::timeout;

use crate::world::{PATIENCE, World, batch, next, open, route, subscribe, take, url};

/// The number of deliveries after which RabbitMQ dead-letters a message: the delivery limit allows
/// 1,000 returns to the queue, and the return after this delivery exceeds it.
pub const DELIVERIES_TO_DEATH: usize = 1_001;

/// How long a test waits for a delivery that must not arrive.
const QUIET: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_ends_the_subscription_with_a_fault() {
    let world = World::new().await;
    let rabbit = world.open().await;
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    world.delete(&world.queue()).await;
    let ended = timeout(PATIENCE, subscription.next())
        .await
        .expect("waiting for a message of the deleted queue must not hang");
    assert_eq!(ended.unwrap_err().kind(), FaultKind::Unavailable);
    drop(subscription);
    rabbit.close().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_to_a_missing_queue_is_a_fault_and_harms_no_neighbour() {
    let world = World::new().await;
    let rabbit = world.open().await;
    let mut neighbour = subscribe(&rabbit, Queue::Route(route())).await;
    let nowhere = Queue::Route("nowhere".parse().unwrap());
    let Err(fault) = rabbit.subscribe(&nowhere, 10).await else {
        panic!("subscribing to a missing queue must fail");
    };
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    rabbit.publish(&[route()], &batch("still")).await.unwrap();
    let delivery = next(&mut *neighbour).await;
    assert_eq!(delivery.bytes, "still");
    delivery.ack().await.unwrap();
    neighbour.close().await;
    rabbit.close().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_in_flight_at_a_vanished_driver_are_redelivered() {
    let world = World::new().await;
    let rabbit = world.open().await;
    rabbit
        .publish(&[route()], &batch("in flight"))
        .await
        .unwrap();
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    let in_flight = next(&mut *subscription).await;
    drop(rabbit);
    let other = world.open().await;
    drop((in_flight, subscription));
    let mut subscription = subscribe(&other, Queue::Route(route())).await;
    let again = next(&mut *subscription).await;
    assert_eq!(again.bytes, "in flight");
    assert!(again.redelivered);
    again.ack().await.unwrap();
    subscription.close().await;
    other.close().await;
    world.finish().await;
}

/// Delivery tags are counted from 1 on each channel. So a tag of a lost channel equals the tag of
/// another message on the next channel. A settlement with the old tag must not settle that message
/// (H4).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_settlement_never_settles_the_message_that_has_its_tag_now() {
    let world = World::new().await;
    let proxy = Proxy::before(&url()).unwrap();
    let mut options = world.options();
    options.url = proxy.url(&url());
    let rabbit = open(options).await;
    for text in ["one", "two"] {
        rabbit.publish(&[route()], &batch(text)).await.unwrap();
    }
    let mut lost = subscribe(&rabbit, Queue::Route(route())).await;
    let (stale_first, stale_second) = (next(&mut *lost).await, next(&mut *lost).await);
    proxy.set(Mode::Cut);
    let ended = timeout(PATIENCE, lost.next())
        .await
        .expect("receiving over a lost connection must end and not hang");
    assert_eq!(ended.unwrap_err().kind(), FaultKind::Unavailable);
    proxy.set(Mode::Pass);

    // The new channel has the same number as the lost channel, and also counts its delivery tags
    // from 1.
    let mut subscription = eventually(
        "subscribing must succeed once the driver has a new connection",
        async || {
            rabbit
                .subscribe(&Queue::Route(route()), 10)
                .await
                .map_err(drop)
        },
    )
    .await;
    let first = next(&mut *subscription).await;
    let second = next(&mut *subscription).await;
    assert!(first.redelivered && second.redelivered);
    let acked = timeout(PATIENCE, stale_first.ack())
        .await
        .expect("acknowledging a message of the lost channel must not hang");
    assert_eq!(acked.unwrap_err().kind(), FaultKind::Unavailable);
    let released = timeout(PATIENCE, stale_second.release()).await;
    let released = released
        .expect("releasing a message of the lost channel must not hang")
        .unwrap_err();
    assert_eq!(released.kind(), FaultKind::Unavailable);
    let more = timeout(QUIET, subscription.next()).await;
    assert!(
        more.is_err(),
        "the release of a lost delivery must return no message to the queue: {more:?}"
    );

    // Neither of the two messages was acknowledged, so both must be redelivered, and acknowledging
    // them must succeed now.
    subscription.close().await;
    drop((first, second, lost));
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    let mut texts = Vec::new();
    for _ in 0..2 {
        let again = next(&mut *subscription).await;
        texts.push(String::from_utf8(again.bytes.to_vec()).unwrap());
        again.ack().await.unwrap();
    }
    texts.sort();
    assert_eq!(texts, ["one", "two"]);
    subscription.close().await;
    assert_eq!(world.waiting(&world.queue()).await, Some(0));
    rabbit.close().await;
    world.finish().await;
}

/// RabbitMQ must move a message that exceeds the delivery limit to the dead-letter queue, through
/// the default exchange and at least once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_the_delivery_limit_a_message_dies_into_the_dead_queue() {
    let world = World::new().await;
    let rabbit = world.open().await;
    rabbit.publish(&[route()], &batch("poison")).await.unwrap();
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    for _ in 0..DELIVERIES_TO_DEATH {
        let delivery = next(&mut *subscription).await;
        assert_eq!(delivery.died_in, None);
        delivery.release().await.unwrap();
    }
    let mut dead = subscribe(&rabbit, Queue::Dead).await;
    let delivery = next(&mut *dead).await;
    assert_eq!(delivery.bytes, "poison");
    assert_eq!(delivery.died_in, Some(world.queue()));
    delivery.ack().await.unwrap();
    assert_eq!(world.waiting(&world.queue()).await, Some(0));
    dead.close().await;
    subscription.close().await;
    rabbit.close().await;
    world.finish().await;
}

/// The driver is closed while a subscription still holds a delivery. After that, no message may be
/// received or settled through this driver, and the message must be redelivered to the next driver.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_close_nothing_can_be_taken_or_settled_and_all_is_redelivered() {
    let world = World::new().await;
    let rabbit = world.open().await;
    rabbit.publish(&[route()], &batch("kept")).await.unwrap();
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    let in_flight = next(&mut *subscription).await;
    rabbit.close().await;
    let ended = timeout(PATIENCE, subscription.next())
        .await
        .expect("receiving must end once the driver is closed");
    assert!(ended.is_err());
    let acked = timeout(PATIENCE, in_flight.ack())
        .await
        .expect("acknowledging must end once the driver is closed");
    assert!(acked.is_err());
    assert!(rabbit.subscribe(&Queue::Dead, 1).await.is_err());
    assert!(rabbit.depths().await.is_err());
    assert!(rabbit.publish(&[route()], &batch("late")).await.is_err());
    let other = world.open().await;
    take(&other, "kept").await;
    other.close().await;
    world.finish().await;
}
