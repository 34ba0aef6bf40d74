//! Leases of messages: which messages are redelivered when a lease ends, and who may still settle
//! them.

use super::*;
use hookbox_driver::{FaultKind, Queue};

fn queue() -> Queue {
    Queue::Route(route("a"))
}

#[tokio::test]
async fn messages_in_flight_at_a_dead_process_are_redelivered() {
    let world = World::new();
    let driver = world.open().await;
    for n in 0..5 {
        driver.publish(&[route("a")], &batch([n])).await.unwrap();
    }
    let mut subscription = driver.subscribe(&queue(), 3).await.unwrap();
    let in_flight = next(&mut subscription).await;
    // The driver is dropped without being closed, so it returns no messages to the queue, as when
    // its process is killed.
    drop(driver);
    eventually(
        "the subscription must end after its driver was dropped",
        async || {
            timeout(Duration::ZERO, subscription.next())
                .await
                .is_ok_and(|next| next.is_err())
        },
    )
    .await;
    assert_eq!(world.number("select count(*) from messages").await, 5);
    assert!(
        world
            .number("select count(*) from messages where lease_until > 1.5e15")
            .await
            >= 3
    );
    assert!(
        in_flight.ack().await.is_err(),
        "an acknowledgement must fail after the driver was dropped"
    );

    let driver = world.open().await;
    let mut subscription = driver.subscribe(&queue(), 5).await.unwrap();
    let mut redelivered = HashSet::new();
    for _ in 0..5 {
        let delivery = next(&mut subscription).await;
        if delivery.redelivered {
            redelivered.extend(numbers(&delivery));
        }
        delivery.ack().await.unwrap();
    }
    assert_eq!(redelivered, HashSet::from([0, 1, 2]));
    subscription.close().await;
    assert_eq!(world.number("select count(*) from messages").await, 0);
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn a_lease_is_renewed_while_the_message_is_in_flight() {
    let world = World::new();
    let (here, there) = (world.open().await, world.open().await);
    here.publish(&[route("a")], &batch([1])).await.unwrap();
    let mut subscription = here.subscribe(&queue(), 1).await.unwrap();
    let delivery = next(&mut subscription).await;
    let mut other = there.subscribe(&queue(), 1).await.unwrap();
    let first = world.number("select lease_until from messages").await;
    let lease = i64::try_from(here.shared.options.lease.as_micros()).unwrap();
    // Without renewals, the lease would have ended long before this wait is over.
    eventually(
        "the lease must be renewed again and again: its end must move by two lease lengths",
        async || world.number("select lease_until from messages").await > first + 2 * lease,
    )
    .await;
    assert!(
        other.try_next().is_none(),
        "the other subscription must not get a message that is in flight"
    );
    assert_eq!(world.number("select deliveries from messages").await, 1);
    delivery.ack().await.unwrap();
    subscription.close().await;
    other.close().await;
    assert_eq!(world.number("select count(*) from messages").await, 0);
    close(here).await;
    close(there).await;
    world.end().await;
}

#[tokio::test]
async fn a_handler_that_holds_the_writer_past_the_lease_keeps_its_message() {
    let world = World::new();
    let (here, there) = (world.open().await, world.open().await);
    here.publish(&[route("a")], &batch([1])).await.unwrap();
    let mut subscription = here.subscribe(&queue(), 1).await.unwrap();
    let delivery = next(&mut subscription).await;
    let tx = here.begin().await.unwrap();
    eventually(
        "the lease must end, because the open transaction keeps the consumer from renewing it",
        async || world.number("select lease_until from messages").await < crate::moment::now(),
    )
    .await;
    here.rollback(tx).await;
    // The lease can still be renewed: while the transaction held the write lock, no other process
    // could take the message, and the renewal is the first in the queue for the writing connection.
    eventually(
        "the consumer must renew the lease although the lease has ended",
        async || world.number("select lease_until from messages").await > crate::moment::now(),
    )
    .await;
    assert_eq!(world.number("select deliveries from messages").await, 1);
    delivery.ack().await.unwrap();
    subscription.close().await;
    assert_eq!(world.number("select count(*) from messages").await, 0);
    close(here).await;
    close(there).await;
    world.end().await;
}

#[tokio::test]
async fn who_lost_the_lease_cannot_settle() {
    let world = World::new();
    let driver = world.open().await;
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    let mut subscription = driver.subscribe(&queue(), 1).await.unwrap();
    let delivery = next(&mut subscription).await;
    // This statement makes another subscription the owner of the message.
    world
        .execute("update messages set taken_by = x'11111111111111111111111111111111'")
        .await;
    eventually(
        "the keeper must notice that the first message is lost, and take another one in its place",
        async || {
            driver.publish(&[route("a")], &batch([2])).await.unwrap();
            subscription.try_next().is_some()
        },
    )
    .await;
    let fault = delivery.ack().await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    assert!(
        fault
            .to_string()
            .contains("settle a message: its lease was lost"),
        "{fault}"
    );
    let theirs =
        "select count(*) from messages where taken_by = x'11111111111111111111111111111111'";
    assert_eq!(
        world.number(theirs).await,
        1,
        "the message must still belong to the other subscription"
    );
    subscription.close().await;
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn a_late_acknowledgement_has_no_effect() {
    let world = World::new();
    let driver = world.open().await;
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    let mut subscription = driver.subscribe(&queue(), 1).await.unwrap();
    let delivery = next(&mut subscription).await;
    world
        .execute("update messages set taken_by = x'22222222222222222222222222222222'")
        .await;
    // The keeper has not noticed that the message has another owner, so the acknowledgement may
    // return `Ok`. It must have no effect.
    let _ = delivery.ack().await;
    subscription.close().await;
    assert_eq!(world.number("select count(*) from messages").await, 1);
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn without_a_delivery_limit_nothing_is_given_up() {
    let world = World::new();
    let driver = world
        .open_with(|options| options.deliveries_max = None)
        .await;
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    world
        .execute("update messages set deliveries = 1000000")
        .await;
    let mut subscription = driver.subscribe(&queue(), 1).await.unwrap();
    let delivery = next(&mut subscription).await;
    assert!(delivery.redelivered);
    assert_eq!(numbers(&delivery), [1]);
    delivery.ack().await.unwrap();
    subscription.close().await;
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn over_the_delivery_limit_is_the_dead_letter_queue() {
    let world = World::new();
    let driver = world.open().await;
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    driver.publish(&[route("a")], &batch([2])).await.unwrap();
    world
        .execute("update messages set deliveries = 1000 where id = 1")
        .await;
    world
        .execute("update messages set deliveries = 999 where id = 2")
        .await;
    let mut dead = driver.subscribe(&Queue::Dead, 4).await.unwrap();
    let mut subscription = driver.subscribe(&queue(), 4).await.unwrap();
    let last_chance = next(&mut subscription).await;
    assert_eq!(numbers(&last_chance), [2]);
    last_chance.ack().await.unwrap();
    let given_up = next(&mut dead).await;
    assert_eq!(numbers(&given_up), [1]);
    assert_eq!(given_up.died_in.as_deref(), Some("hookbox.test.route.a"));
    given_up.ack().await.unwrap();
    subscription.close().await;
    dead.close().await;
    assert_eq!(world.number("select count(*) from messages").await, 0);
    close(driver).await;
    world.end().await;
}

/// The lease ends in a day: a process whose clock was a day ahead took the message and died, or the
/// clock was set back since. Such a lease must not count.
#[tokio::test]
async fn a_lease_from_another_clock_is_none() {
    let world = World::new();
    let driver = world.open().await;
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    let day = 24 * 3_600 * 1_000_000_i64;
    let mut meddling = world.meddle().await;
    let stolen = sqlx::query(
        "update messages set taken_by = randomblob(16), deliveries = 1, lease_until = ?1",
    )
    .bind(crate::moment::now() + day)
    .execute(&mut meddling)
    .await
    .unwrap();
    assert_eq!(stolen.rows_affected(), 1);
    meddling.close().await.unwrap();
    let depths = driver.depths().await.unwrap();
    let of_a = depths.iter().find(|it| it.queue == queue()).unwrap();
    assert_eq!((of_a.ready, of_a.unsettled), (Some(1), Some(0)));
    let mut subscription = driver.subscribe(&queue(), 1).await.unwrap();
    let delivery = next(&mut subscription).await;
    assert!(delivery.redelivered);
    delivery.ack().await.unwrap();
    subscription.close().await;
    assert_eq!(world.number("select count(*) from messages").await, 0);
    close(driver).await;
    world.end().await;
}
