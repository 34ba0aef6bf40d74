//! The promises of a broker for consuming and settling messages.

use hookbox_driver::Broker;

use super::{ack_and_release, envelopes, next, publish, quiet, subscribe};
use crate::harness::{BrokerHarness, one};
use crate::of_number;

pub async fn acknowledged_is_gone<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    publish(&*broker, one(), 1).await;
    let mut subscription = subscribe(&*broker, 10).await;
    next(&mut *subscription)
        .await
        .ack()
        .await
        .expect("acknowledged");
    subscription.close().await;
    let mut subscription = subscribe(&*broker, 10).await;
    quiet(&mut *subscription).await;
    subscription.close().await;
    broker.close().await;
}

pub async fn released_is_redelivered<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    publish(&*broker, one(), 1).await;
    let mut subscription = subscribe(&*broker, 10).await;
    let first = next(&mut *subscription).await;
    assert!(!first.redelivered);
    first.release().await.expect("released");
    let again = next(&mut *subscription).await;
    assert_eq!(envelopes(&again), [of_number(1)]);
    again.ack().await.expect("acknowledged");
    subscription.close().await;
    broker.close().await;
}

pub async fn dropped_unsettled_is_redelivered<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    publish(&*broker, one(), 1).await;
    let mut subscription = subscribe(&*broker, 10).await;
    drop(next(&mut *subscription).await);
    let again = next(&mut *subscription).await;
    assert!(again.redelivered);
    again.ack().await.expect("acknowledged");
    subscription.close().await;
    broker.close().await;
}

pub async fn unsettled_is_redelivered_after_a_lost_connection<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    publish(&*broker, one(), 1).await;
    let mut subscription = subscribe(&*broker, 10).await;
    let in_flight = next(&mut *subscription).await;
    world.sever().await;
    let other = {
        world.restore().await;
        world.open().await
    };
    // The first process ends as by a crash: its delivery is dropped together with the subscription
    // and the connection, so nothing settles the message.
    drop((in_flight, subscription, broker));
    let mut subscription = subscribe(&*other, 10).await;
    let again = next(&mut *subscription).await;
    assert_eq!(envelopes(&again), [of_number(1)]);
    again.ack().await.expect("acknowledged");
    subscription.close().await;
    other.close().await;
}

pub async fn settling_after_a_lost_connection_is_a_fault_not_a_panic<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    publish(&*broker, one(), 1).await;
    publish(&*broker, one(), 2).await;
    let mut subscription = subscribe(&*broker, 10).await;
    let (first, second) = (
        next(&mut *subscription).await,
        next(&mut *subscription).await,
    );
    subscription.close().await;
    broker.close().await;
    // Settling a message after its connection was closed must return an error, and must neither
    // panic nor hang.
    for settled in ack_and_release(first, second).await {
        assert!(
            settled.is_err(),
            "settling must fail, because the connection is closed"
        );
    }
    let broker = world.open().await;
    let mut subscription = subscribe(&*broker, 10).await;
    for _ in 0..2 {
        next(&mut *subscription)
            .await
            .ack()
            .await
            .expect("acknowledged");
    }
    subscription.close().await;
    broker.close().await;
}

pub async fn prefetch_bounds_messages_in_flight<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    for number in 0..5 {
        publish(&*broker, one(), number).await;
    }
    let mut subscription = subscribe(&*broker, 2).await;
    let first = next(&mut *subscription).await;
    let second = next(&mut *subscription).await;
    quiet(&mut *subscription).await;
    assert!(subscription.try_next().is_none());
    first.ack().await.expect("acknowledged");
    let third = next(&mut *subscription).await;
    quiet(&mut *subscription).await;
    drop((second, third));
    subscription.close().await;
    broker.close().await;
}

pub async fn a_message_in_flight_does_not_delay_others<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    for number in 0..20 {
        publish(&*broker, one(), number).await;
    }
    let mut subscription = subscribe(&*broker, 4).await;
    let held = next(&mut *subscription).await;
    for _ in 1..20 {
        next(&mut *subscription)
            .await
            .ack()
            .await
            .expect("acknowledged");
    }
    held.ack().await.expect("acknowledged");
    subscription.close().await;
    broker.close().await;
}

pub async fn acks_in_any_order_settle_their_own_message<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    for number in 0..40 {
        publish(&*broker, one(), number).await;
    }
    let mut subscription = subscribe(&*broker, 100).await;
    let mut hand = Vec::new();
    for _ in 0..40 {
        hand.push(next(&mut *subscription).await);
    }
    // The messages are acknowledged in a mixed order, and ten of them are left unsettled.
    let mut tasks = tokio::task::JoinSet::new();
    let mut kept = Vec::new();
    while !hand.is_empty() {
        let delivery = hand.swap_remove(hand.len() * 7 / 11);
        if kept.len() < 10 && hand.len() % 4 == 0 {
            kept.push(delivery);
        } else {
            tasks.spawn(delivery.ack());
        }
    }
    while let Some(acked) = tasks.join_next().await {
        acked
            .expect("the task must not panic")
            .expect("acknowledged");
    }
    let mut expected: Vec<_> = kept
        .iter()
        .flat_map(envelopes)
        .map(|it| it.receipt)
        .collect();
    drop(kept);
    subscription.close().await;
    let mut subscription = subscribe(&*broker, 100).await;
    let mut again = Vec::new();
    for _ in 0..expected.len() {
        let delivery = next(&mut *subscription).await;
        again.extend(envelopes(&delivery).into_iter().map(|it| it.receipt));
        delivery.ack().await.expect("acknowledged");
    }
    expected.sort();
    again.sort();
    assert_eq!(
        again, expected,
        "exactly the messages that were not acknowledged must be redelivered"
    );
    quiet(&mut *subscription).await;
    subscription.close().await;
    broker.close().await;
}

pub async fn closing_a_subscription_returns_messages_in_flight<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    for number in 0..6 {
        publish(&*broker, one(), number).await;
    }
    let mut subscription = subscribe(&*broker, 10).await;
    next(&mut *subscription)
        .await
        .ack()
        .await
        .expect("acknowledged");
    subscription.close().await;
    let mut subscription = subscribe(&*broker, 10).await;
    for _ in 1..6 {
        next(&mut *subscription)
            .await
            .ack()
            .await
            .expect("acknowledged");
    }
    quiet(&mut *subscription).await;
    subscription.close().await;
    broker.close().await;
}
