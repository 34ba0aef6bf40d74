//! The promises of a broker for messages in flight at several consumers.

use std::time::Duration;

use hookbox_driver::Broker;
use tokio::time::timeout;

use super::{envelopes, next, publish, quiet, subscribe};
use crate::harness::{BrokerHarness, one};
use crate::of_number;

/// Checks that messages beyond the prefetch of one consumer are all delivered to another consumer.
pub async fn messages_beyond_the_prefetch_go_to_another_consumer<H: BrokerHarness>(world: &H) {
    let (broker, elsewhere) = (world.open().await, world.open().await);
    for number in 0..6 {
        publish(&*broker, one(), number).await;
    }
    let mut small = subscribe(&*broker, 2).await;
    let in_flight = (next(&mut *small).await, next(&mut *small).await);
    let mut large = subscribe(&*elsewhere, 10).await;
    for number in 2..6 {
        let delivery = next(&mut *large).await;
        assert_eq!(envelopes(&delivery), [of_number(number)]);
        delivery.ack().await.expect("acknowledged");
    }
    quiet(&mut *large).await;
    in_flight.0.ack().await.expect("acknowledged");
    in_flight.1.ack().await.expect("acknowledged");
    small.close().await;
    large.close().await;
    broker.close().await;
    elsewhere.close().await;
}

/// Checks that no message is lost when a consumer cancels its wait for the next message at any
/// moment.
pub async fn cancelling_next_loses_no_message<H: BrokerHarness>(world: &H) {
    let broker = world.open().await;
    let mut subscription = subscribe(&*broker, 3).await;
    let mut taken = Vec::new();
    for number in 0..30 {
        publish(&*broker, one(), number).await;
        // Each wait for a message is cancelled after another time: sometimes just before the
        // message arrives, sometimes just after.
        for micros in [0, 200, 2_000] {
            let wait = Duration::from_micros(micros);
            if let Ok(delivery) = timeout(wait, subscription.next()).await {
                let delivery = delivery.expect("the wait for a message must not fail");
                taken.extend(envelopes(&delivery));
                delivery.ack().await.expect("acknowledged");
            }
        }
    }
    while taken.len() < 30 {
        let delivery = next(&mut *subscription).await;
        taken.extend(envelopes(&delivery));
        delivery.ack().await.expect("acknowledged");
    }
    assert_eq!(taken, (0..30).map(of_number).collect::<Vec<_>>());
    quiet(&mut *subscription).await;
    subscription.close().await;
    broker.close().await;
}
