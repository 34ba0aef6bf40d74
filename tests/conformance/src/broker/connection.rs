//! The promises of a broker for connections that are lost.

use hookbox_driver::{Broker, Fault, FaultKind, Subscription};
use tokio::time::timeout;

use super::{PATIENCE, ack_and_release, envelopes, next, publish, subscribe};
use crate::harness::{BrokerHarness, one};
use crate::of_number;

/// Returns the fault with which a subscription ends.
async fn end_of(subscription: &mut dyn Subscription) -> Fault {
    let fault = timeout(PATIENCE, subscription.next())
        .await
        .expect("the subscription must end in time when its connection is lost")
        .expect_err("the subscription must end with a fault, because its connection is severed");
    assert_ne!(fault.kind(), FaultKind::Internal, "{fault:?}");
    fault
}

/// Checks that a subscription fails when its connection is lost, and that a new subscription works
/// when the broker is reachable again.
pub async fn a_broken_subscription_ends_with_a_fault<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    publish(&*broker, one(), 1).await;
    let mut subscription = subscribe(&*broker, 10).await;
    let in_flight = next(&mut *subscription).await;
    world.sever().await;
    end_of(&mut *subscription).await;
    assert!(subscription.try_next().is_none());
    drop((in_flight, subscription));
    world.restore().await;
    let mut subscription = subscribe(&*broker, 10).await;
    let again = next(&mut *subscription).await;
    assert_eq!(envelopes(&again), [of_number(1)]);
    again.ack().await.expect("acknowledged");
    subscription.close().await;
    broker.close().await;
}

/// Checks that acknowledging or releasing a message over a lost connection returns a fault, and
/// that the broker redelivers the messages.
pub async fn settling_over_a_severed_connection_is_a_fault<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    publish(&*broker, one(), 1).await;
    publish(&*broker, one(), 2).await;
    let mut subscription = subscribe(&*broker, 10).await;
    let first = next(&mut *subscription).await;
    let second = next(&mut *subscription).await;
    world.sever().await;
    end_of(&mut *subscription).await;
    for settled in ack_and_release(first, second).await {
        let fault = settled.expect_err("settling must fail, because the connection is lost");
        assert_ne!(fault.kind(), FaultKind::Internal, "{fault:?}");
    }
    timeout(PATIENCE, subscription.close())
        .await
        .expect("closing must end in time");
    world.restore().await;
    let mut subscription = subscribe(&*broker, 10).await;
    let mut again = Vec::new();
    for _ in 0..2 {
        let delivery = next(&mut *subscription).await;
        again.extend(envelopes(&delivery));
        delivery.ack().await.expect("acknowledged");
    }
    again.sort_by_key(|envelope| envelope.event != of_number(1).event);
    assert_eq!(again, [of_number(1), of_number(2)]);
    subscription.close().await;
    broker.close().await;
}
