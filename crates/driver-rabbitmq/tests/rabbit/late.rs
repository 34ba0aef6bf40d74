//! Tests of what the driver has given up because the broker answered late. The broker must keep no
//! consumer whose messages nothing reads (H23), and no lock that is never released.

use std::time::Duration;

use hookbox_driver::{Broker, Queue, Subscription};
use hookbox_driver_rabbitmq::Rabbit;
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::proxy::{Mode, Proxy};
use tokio::time::timeout;

use crate::world::{PATIENCE, World, batch, next, open, route, subscribe, url};

/// How many messages are published. The broker shares them out among the consumers of a queue, so a
/// consumer whose messages are not read would get some of them.
const MESSAGES: usize = 8;

/// Opens a driver that connects through a proxy. Returns both, and the driver's deadline for
/// answers.
async fn behind_proxy(world: &World) -> (Proxy, Rabbit, Duration) {
    let proxy = Proxy::before(&url()).unwrap();
    let mut options = world.options();
    options.url = proxy.url(&url());
    let deadline = options.connect_deadline;
    (proxy, open(options).await, deadline)
}

/// Publishes messages, and checks that the subscription gets all of them.
async fn takes_all(subscription: &mut dyn Subscription, rabbit: &Rabbit) {
    for _ in 0..MESSAGES {
        rabbit.publish(&[route()], &batch("one")).await.unwrap();
    }
    for _ in 0..MESSAGES {
        next(subscription).await.ack().await.unwrap();
    }
}

/// A quorum queue without a leader answers a subscription only once it has a leader. By then, the
/// driver has given up the subscription and begins another one (H23). The proxy delays the answers
/// in the same way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_whose_answer_comes_too_late_takes_no_messages() {
    let world = World::new().await;
    let (proxy, rabbit, deadline) = behind_proxy(&world).await;
    let other = world.open().await;
    // This makes the driver open its connection for consuming before the proxy delays answers.
    let first = subscribe(&rabbit, Queue::Route(route())).await;
    first.close().await;
    // A subscription needs three answers. With this delay, the first two come before the deadline,
    // and the third comes after it.
    proxy.set(Mode::Late(deadline.mul_f64(0.4)));
    let given_up = rabbit.subscribe(&Queue::Route(route()), 10).await;
    assert!(
        given_up.is_err(),
        "subscribing must fail, because the broker's answer is late"
    );
    proxy.set(Mode::Pass);
    let again = async {
        loop {
            if let Ok(subscription) = rabbit.subscribe(&Queue::Route(route()), 10).await {
                return subscription;
            }
        }
    };
    let again = timeout(PATIENCE, again).await;
    let mut subscription = again.expect("the driver must subscribe again");
    takes_all(&mut *subscription, &other).await;
    subscription.close().await;
    rabbit.close().await;
    other.close().await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_subscription_takes_no_messages() {
    let world = World::new().await;
    let rabbit = world.open().await;
    drop(subscribe(&rabbit, Queue::Route(route())).await);
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    takes_all(&mut *subscription, &rabbit).await;
    subscription.close().await;
    rabbit.close().await;
    world.finish().await;
}

/// The proxy delays each answer, so that `next` is cancelled while the broker begins to consume on
/// the channel of the renewed subscription.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_that_is_cancelled_takes_no_messages() {
    const STEP: Duration = Duration::from_secs(1);
    let world = World::new().await;
    let proxy = Proxy::before(&url()).unwrap();
    let mut options = world.options();
    options.url = proxy.url(&url());
    options.renew_after = STEP;
    let (rabbit, other) = (open(options).await, world.open().await);
    let mut renewed = subscribe(&rabbit, Queue::Route(route())).await;
    proxy.set(Mode::Late(STEP));
    // The renewal begins after one step. Closing the old channel, opening the new one and setting
    // its prefetch take one step each. So after 4.5 steps, the answer to the subscription is on its
    // way.
    let cancelled = timeout(STEP.mul_f64(4.5), renewed.next()).await;
    assert!(
        cancelled.is_err(),
        "`next` must still be renewing the subscription when it is cancelled"
    );
    proxy.set(Mode::Pass);
    drop(renewed);
    let mut subscription = subscribe(&other, Queue::Route(route())).await;
    takes_all(&mut *subscription, &other).await;
    subscription.close().await;
    rabbit.close().await;
    other.close().await;
    world.finish().await;
}

/// One process at a time reads the witnesses. If a process gives up while the broker answers late,
/// the others must not wait until its connection ends. The first delay is so long that the process
/// gives up after the broker has declared the queue of the lock, and before the process consumes
/// from it. With the second, it gives up while it begins to consume.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_witnesses_that_gives_up_locks_out_no_other() {
    let world = World::new().await;
    let (proxy, rabbit, deadline) = behind_proxy(&world).await;
    let other = world.open().await;
    assert_eq!(rabbit.witnesses().await.unwrap(), []);
    for share in [0.6, 0.4] {
        proxy.set(Mode::Late(deadline.mul_f64(share)));
        let given_up = rabbit.witnesses().await;
        assert!(given_up.is_err(), "the broker's answers are late");
        proxy.set(Mode::Pass);
        eventually("another process must read the witnesses", async || {
            other.witnesses().await
        })
        .await;
    }
    rabbit.close().await;
    other.close().await;
    world.finish().await;
}
