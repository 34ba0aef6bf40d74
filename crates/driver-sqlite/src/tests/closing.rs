//! Subscriptions and drivers are closed while messages are in flight: which messages are
//! redelivered, and what later calls return.

use super::*;
use hookbox_driver::{FaultKind, PublishErrorKind, Queue, Readiness};

fn queue(name: &str) -> Queue {
    Queue::Route(route(name))
}

#[tokio::test]
async fn closing_a_subscription_returns_messages_in_flight() {
    let world = World::new();
    let driver = world.open().await;
    for n in 0..4 {
        driver.publish(&[route("a")], &batch([n])).await.unwrap();
    }
    let mut first = driver.subscribe(&queue("a"), 4).await.unwrap();
    let kept = next(&mut first).await;
    first.close().await;
    let mut second = driver.subscribe(&queue("a"), 4).await.unwrap();
    for n in 1..4 {
        let delivery = next(&mut second).await;
        assert_eq!(numbers(&delivery), [n]);
        assert!(
            !delivery.redelivered,
            "no consumer has received the message, so it must not be marked as redelivered"
        );
        delivery.ack().await.unwrap();
    }
    // A delivery that is in flight when its subscription is closed can still be settled.
    assert!(second.try_next().is_none());
    kept.release().await.unwrap();
    let again = next(&mut second).await;
    assert_eq!(numbers(&again), [0]);
    again.ack().await.unwrap();
    // Dropping a subscription also returns its messages to the queue, but does not wait until this
    // is written.
    driver.publish(&[route("a")], &batch([9])).await.unwrap();
    let taken = async || {
        world
            .number("select max(lease_until) > 1.5e15 from messages")
            .await
            == 1
    };
    eventually(
        "the open subscription must take the message that was published last",
        taken,
    )
    .await;
    drop(second);
    let mut third = driver.subscribe(&queue("a"), 1).await.unwrap();
    assert_eq!(drain(&mut third, 9..10).await, 1);
    third.close().await;
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn closing_the_driver_returns_messages_in_flight() {
    let world = World::new();
    let driver = world.open().await;
    for n in 0..3 {
        driver.publish(&[route("a")], &batch([n])).await.unwrap();
    }
    let mut subscription = driver.subscribe(&queue("a"), 2).await.unwrap();
    let (one, two) = (next(&mut subscription).await, next(&mut subscription).await);
    one.ack().await.unwrap();
    close(driver).await;
    let fault = two.ack().await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    let fault = timeout(PATIENCE, subscription.next())
        .await
        .unwrap()
        .err()
        .unwrap();
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    drop(subscription);
    let free = "select count(*) from messages where lease_until < 1.5e15";
    assert_eq!(world.number(free).await, 2);
    world.end().await;
}

#[tokio::test]
async fn a_closed_driver_refuses_everything_with_a_fault() {
    let world = World::new();
    let driver = world.open().await;
    Broker::close(&driver).await;
    Store::close(&driver).await;
    let error = driver
        .publish(&[route("a")], &batch([1]))
        .await
        .unwrap_err();
    assert_eq!(error.kind, PublishErrorKind::Unavailable);
    assert!(matches!(driver.readiness(), Readiness::NotReady { .. }));
    let fault = driver.subscribe(&queue("a"), 1).await.err().unwrap();
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    let fault = driver.begin().await.err().unwrap();
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    let fault = driver.ping().await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    drop(driver);
    world.end().await;
}

#[tokio::test]
async fn a_broken_subscription_ends_with_a_fault() {
    let world = World::new();
    let driver = world.open_with(impatient).await;
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    let lock = world.lock().await;
    let mut subscription = driver.subscribe(&queue("a"), 1).await.unwrap();
    let fault = timeout(PATIENCE, subscription.next())
        .await
        .unwrap()
        .err()
        .unwrap();
    assert_eq!(fault.kind(), FaultKind::Contention);
    assert!(
        timeout(PATIENCE, subscription.next())
            .await
            .unwrap()
            .is_err(),
        "a subscription that has ended with a fault must deliver nothing more"
    );
    subscription.close().await;
    lock.close().await.unwrap();
    let mut subscription = driver.subscribe(&queue("a"), 1).await.unwrap();
    assert_eq!(drain(&mut subscription, 1..2).await, 1);
    subscription.close().await;
    close(driver).await;
    world.end().await;
}
