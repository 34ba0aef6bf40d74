//! Consuming: queues that vanish, drivers that vanish, and messages that nobody can keep.

use hookbox_driver::{Broker, FaultKind, Queue};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use tokio::time::timeout;

use crate::world::{PATIENCE, World, batch, next, route, subscribe, take};

/// The limit is 1,000 returns; one more is dead.
const DELIVERIES_TO_DEATH: usize = 1_001;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_ends_the_subscription_with_a_fault() {
    let world = World::new().await;
    let rabbit = world.open().await;
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    world.delete(&world.queue()).await;
    let ended = timeout(PATIENCE, subscription.next())
        .await
        .expect("no hang");
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
        panic!("it subscribed to nothing");
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
async fn what_a_vanished_driver_had_in_hand_comes_again() {
    let world = World::new().await;
    let rabbit = world.open().await;
    rabbit.publish(&[route()], &batch("in hand")).await.unwrap();
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    let in_hand = next(&mut *subscription).await;
    drop(rabbit);
    let other = world.open().await;
    drop((in_hand, subscription));
    let mut subscription = subscribe(&other, Queue::Route(route())).await;
    let again = next(&mut *subscription).await;
    assert_eq!(again.bytes, "in hand");
    assert!(again.redelivered);
    again.ack().await.unwrap();
    subscription.close().await;
    other.close().await;
    world.finish().await;
}

/// With the dead queue reached through the default exchange, at least once.
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

/// Someone who closes while others still hold what they took.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_close_nothing_can_be_taken_or_settled_and_all_comes_again() {
    let world = World::new().await;
    let rabbit = world.open().await;
    rabbit.publish(&[route()], &batch("kept")).await.unwrap();
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    let in_hand = next(&mut *subscription).await;
    rabbit.close().await;
    let ended = timeout(PATIENCE, subscription.next())
        .await
        .expect("no hang");
    assert!(ended.is_err());
    let acked = timeout(PATIENCE, in_hand.ack()).await.expect("no hang");
    assert!(acked.is_err());
    assert!(rabbit.subscribe(&Queue::Dead, 1).await.is_err());
    assert!(rabbit.depths().await.is_err());
    assert!(rabbit.publish(&[route()], &batch("late")).await.is_err());
    let other = world.open().await;
    take(&other, "kept").await;
    other.close().await;
    world.finish().await;
}

/// Whoever may publish may write any header. None of them decides anything: the message comes, says
/// what it says, and is settled as any other, in a route's queue and in that of dead letters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_a_publisher_forged_change_nothing() {
    let world = World::new().await;
    let rabbit = world.open().await;
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut death = FieldTable::default();
    death.insert("queue".into(), text(&world.queue()));
    death.insert("count".into(), AMQPValue::LongLongInt(i64::MIN));
    let forged = [
        ("x-delivery-count", AMQPValue::LongLongInt(-5)),
        ("x-delivery-count", AMQPValue::LongLongInt(1_000_000)),
        ("x-delivery-count", text("many")),
        ("x-delivery-count", AMQPValue::Void),
        (
            "x-death",
            AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into()),
        ),
        ("x-death", text("not an array")),
        ("x-first-death-queue", text("hookbox.other.route.stolen")),
        ("x-first-death-queue", AMQPValue::Boolean(true)),
        ("x-last-death-reason", text("rejected")),
    ];
    let channel = world.raw.create_channel().await.unwrap();
    for (queue, name) in [
        (Queue::Route(route()), world.queue()),
        (Queue::Dead, world.dead()),
    ] {
        let mut subscription = subscribe(&rabbit, queue).await;
        for (header, value) in &forged {
            let mut headers = FieldTable::default();
            headers.insert((*header).into(), value.clone());
            let properties = BasicProperties::default().with_headers(headers);
            let options = BasicPublishOptions::default();
            channel
                .basic_publish(
                    "".into(),
                    name.as_str().into(),
                    options,
                    b"forged",
                    properties,
                )
                .await
                .unwrap();
            let delivery = next(&mut *subscription).await;
            assert_eq!(delivery.bytes, "forged", "{header} {value:?}");
            delivery.ack().await.unwrap();
        }
        subscription.close().await;
        assert_eq!(world.waiting(&name).await, Some(0));
    }
    rabbit.close().await;
    world.finish().await;
}
