//! Tests of connections that are cut, that lose all traffic, or that lose only the broker's
//! answers.

use std::time::{Duration, Instant};

use hookbox_driver::{Broker, PublishError, PublishErrorKind, Queue};
use hookbox_driver_rabbitmq::Rabbit;
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::lateness::Lateness;
use hookbox_testkit::proxy::{Mode, Proxy};

use crate::world::{PATIENCE, World, batch, open, route, take, until_not_ready, until_ready, url};

/// The deadline for a confirm in tests whose confirm does not arrive.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(1);

/// The driver's default deadline for a confirm.
const DEFAULT_DEADLINE: Duration = Duration::from_millis(2_500);

/// The time within which readiness shows what a check of the driver has found.
const A_MOMENT: Duration = Duration::from_millis(500);

/// The longest time for an operation that must not wait for anything, on a busy machine. It is
/// shorter than the time after which a missed heartbeat ends a connection.
const SLACK: Duration = Duration::from_secs(10);

struct Link {
    world: World,
    proxy: Proxy,
    rabbit: Rabbit,
}

impl Link {
    /// Opens a driver that connects through a proxy, with this deadline for a confirm.
    async fn new(confirm_deadline: Duration) -> Self {
        let world = World::new().await;
        let proxy = Proxy::before(&url()).unwrap();
        let mut options = world.options();
        options.url = proxy.url(&url());
        options.confirm_deadline = confirm_deadline;
        options.close_deadline = Duration::from_millis(300);
        let rabbit = open(options).await;
        Self {
            world,
            proxy,
            rabbit,
        }
    }

    async fn publish(&self, text: &str) -> (Result<(), PublishError>, Duration) {
        let began = Instant::now();
        let published = self.rabbit.publish(&[route()], &batch(text)).await;
        (published, began.elapsed())
    }

    async fn heals(self) {
        self.proxy.set(Mode::Pass);
        until_ready(&self.rabbit).await;
        // The driver may not have noticed yet that the connection is lost. In that case the first
        // publish fails, and a later publish must succeed.
        eventually("a publish must succeed after the outage", async || {
            self.publish("healed").await.0
        })
        .await;
        self.rabbit.close().await;
        self.world.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_loses_everything_times_out_and_recovers() {
    let link = Link::new(CONFIRM_DEADLINE).await;
    link.proxy.set(Mode::Hole);
    let (published, took) = link.publish("lost").await;
    assert_eq!(published.unwrap_err().kind, PublishErrorKind::TimedOut);
    assert!(took < CONFIRM_DEADLINE + SLACK, "{took:?}");
    until_not_ready(&link.rabbit).await;
    // The driver is not ready any more, so a publish must fail at once, without waiting for a
    // confirm that would not arrive.
    let (published, took) = link.publish("refused").await;
    assert_eq!(published.unwrap_err().kind, PublishErrorKind::Unavailable);
    assert!(took < SLACK, "{took:?}");
    assert_eq!(link.world.waiting(&link.world.queue()).await, Some(0));
    link.heals().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_confirm_is_not_ok_although_the_message_is_there() {
    let link = Link::new(CONFIRM_DEADLINE).await;
    link.proxy.set(Mode::LoseAnswers);
    let (published, took) = link.publish("stored").await;
    assert_eq!(published.unwrap_err().kind, PublishErrorKind::TimedOut);
    assert!(took < CONFIRM_DEADLINE + SLACK, "{took:?}");
    until_not_ready(&link.rabbit).await;
    let queue = link.world.queue();
    eventually(
        "the broker must store the message although its confirm is lost",
        async || match link.world.waiting(&queue).await {
            Some(1) => Ok(()),
            other => Err(other),
        },
    )
    .await;
    link.proxy.set(Mode::Pass);
    until_ready(&link.rabbit).await;
    take(&link.rabbit, "stored").await;
    link.heals().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_is_unavailable_at_once_and_recovers() {
    let link = Link::new(PATIENCE).await;
    link.proxy.set(Mode::Cut);
    let (published, took) = link.publish("cut off").await;
    let error = published.unwrap_err();
    assert_eq!(error.kind, PublishErrorKind::Unavailable, "{error:?}");
    assert!(took < SLACK, "{took:?}");
    until_not_ready(&link.rabbit).await;
    link.heals().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_ends_the_wait_for_a_confirm() {
    let link = Link::new(PATIENCE).await;
    link.proxy.set(Mode::LoseAnswers);
    let (published, ()) = tokio::join!(link.publish("waiting"), async {
        let queue = link.world.queue();
        eventually(
            "the broker must store the message although its confirm is lost",
            async || match link.world.waiting(&queue).await {
                Some(1) => Ok(()),
                other => Err(other),
            },
        )
        .await;
        link.proxy.set(Mode::Cut);
    });
    let error = published.0.unwrap_err();
    assert_eq!(error.kind, PublishErrorKind::Unavailable, "{error:?}");
    link.heals().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_driver_notices_a_cut() {
    let link = Link::new(PATIENCE).await;
    link.proxy.set(Mode::Cut);
    let why = until_not_ready(&link.rabbit).await;
    assert!(why.contains("lost") || why.contains("channel"), "{why}");
    link.heals().await;
}

/// The driver must notice that the broker no longer answers, although nothing is published, and
/// long before a heartbeat is missed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_driver_notices_a_broker_that_answers_nothing_within_two_deadlines() {
    let link = Link::new(PATIENCE).await;
    link.proxy.set(Mode::Hole);
    let (began, lateness) = (Instant::now(), Lateness::measure());
    let why = until_not_ready(&link.rabbit).await;
    let took = began.elapsed();
    assert!(why.contains("unresponsive for"), "{why}");
    let bound = 2 * DEFAULT_DEADLINE + A_MOMENT + lateness.allowance();
    assert!(took < bound, "{took:?}");
    link.heals().await;
}

/// Closing the driver must not wait for the broker's answer on an unresponsive connection, and must
/// end a caller that is subscribing over that connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_does_not_wait_for_a_connection_that_is_being_made() {
    let world = World::new().await;
    let proxy = Proxy::before(&url()).unwrap();
    let mut options = world.options();
    options.url = proxy.url(&url());
    options.preflight_deadline = PATIENCE;
    options.close_deadline = Duration::from_millis(300);
    let bound = options.close_deadline * 3 + SLACK;
    let rabbit = open(options).await;
    proxy.set(Mode::Hole);
    let began = Instant::now();
    let queue = Queue::Route(route());
    // `join!` polls its first future first, so the subscription has started to connect when the
    // driver is closed.
    let (subscribed, ()) = tokio::join!(rabbit.subscribe(&queue, 1), rabbit.close());
    assert!(subscribed.is_err());
    assert!(began.elapsed() < bound, "{:?}", began.elapsed());
    world.finish().await;
}
