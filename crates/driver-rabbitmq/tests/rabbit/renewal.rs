//! Tests of subscriptions that the driver renews because no message arrives on them.

use std::time::Duration;

use hookbox_driver::{Broker, Queue};
use hookbox_driver_rabbitmq::Rabbit;
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::proxy::{Mode, Proxy};
use tokio::time::timeout;

use crate::world::{World, batch, next, open, route, subscribe, url};

const SOON: Duration = Duration::from_millis(300);

/// Opens a driver that connects through a proxy and renews its subscriptions after [`SOON`].
async fn renewing(world: &World, proxy: &Proxy) -> Rabbit {
    let mut options = world.options();
    options.url = proxy.url(&url());
    options.renew_after = SOON;
    open(options).await
}

/// The proxy drops the frames of one delivery. So the broker waits for the acknowledgement of a
/// delivery that the client never got (H22).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_never_arrived_is_redelivered() {
    let world = World::new().await;
    let proxy = Proxy::before(&url()).unwrap();
    let (rabbit, other) = (renewing(&world, &proxy).await, world.open().await);
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    // `next` is called only after the delivery was dropped, because it would renew the
    // subscription.
    proxy.set(Mode::Hole);
    let dropped = proxy.forgotten();
    other.publish(&[route()], &batch("once")).await.unwrap();
    let queue = world.queue();
    eventually("the proxy must have dropped the delivery", async || match (
        world.waiting(&queue).await,
        proxy.forgotten() - dropped,
    ) {
        (Some(0), bytes) if bytes > "once".len() as u64 => Ok(()),
        not_yet => Err(not_yet),
    })
    .await;
    proxy.set(Mode::Pass);
    let again = next(&mut *subscription).await;
    assert_eq!(again.bytes, "once");
    assert!(again.redelivered);
    again.ack().await.unwrap();
    subscription.close().await;
    rabbit.close().await;
    other.close().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_with_a_message_in_flight_is_not_renewed() {
    let world = World::new().await;
    let proxy = Proxy::before(&url()).unwrap();
    let rabbit = renewing(&world, &proxy).await;
    rabbit.publish(&[route()], &batch("held")).await.unwrap();
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    let held = next(&mut *subscription).await;
    // A renewal would return the message to the queue, and the message would be redelivered at
    // once.
    let nothing = timeout(SOON * 5, subscription.next()).await;
    assert!(nothing.is_err(), "the message must not be redelivered");
    held.ack().await.unwrap();
    // Now the subscription is renewed, and continues.
    let nothing = timeout(SOON * 5, subscription.next()).await;
    assert!(
        nothing.is_err(),
        "a settled message must not be redelivered"
    );
    rabbit.publish(&[route()], &batch("next")).await.unwrap();
    let delivery = next(&mut *subscription).await;
    assert_eq!(delivery.bytes, "next");
    delivery.ack().await.unwrap();
    subscription.close().await;
    rabbit.close().await;
    world.finish().await;
}
