//! Tests that the driver names a deleted queue in time, even if there are many queues and the
//! connection is slow.

use std::time::{Duration, Instant};

use hookbox_driver::Broker;
use hookbox_driver_rabbitmq::{Rabbit, declare};
use hookbox_event::RouteName;
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::lateness::Lateness;
use hookbox_testkit::proxy::{Mode, Proxy};

use crate::alone::{Log, alone};
use crate::world::{World, until_not_ready, until_ready, url};

/// The time within which the driver promises to name a deleted queue.
const NAMED_WITHIN: Duration = Duration::from_secs(5);

const ROUTES: usize = 50;

/// A typical round-trip time between two regions of a cloud provider.
const FAR: Duration = Duration::from_millis(20);

/// A round-trip time with which the check of all queues exceeds its deadline.
const VERY_FAR: Duration = Duration::from_millis(150);

/// The longest time for declaring the queues of [`ROUTES`] routes on a busy machine.
const DECLARED_WITHIN: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deletion_among_many_queues_is_reported_on_a_slow_connection() {
    if !alone("watch::a_deletion_among_many_queues_is_reported_on_a_slow_connection") {
        return;
    }
    let log = Log::begin();
    let routes = (0..ROUTES).map(|number| format!("route-{number}").parse().unwrap());
    let routes: Vec<RouteName> = routes.collect();
    let world = World::with(routes.clone()).await;
    let declare_all = async || {
        let mut options = world.options();
        options.connect_deadline = DECLARED_WITHIN;
        declare(&options).await.unwrap().declared
    };
    assert_eq!(declare_all().await.len(), ROUTES + 3);
    let proxy = Proxy::before(&url()).unwrap();
    let mut options = world.options();
    options.url = proxy.url(&url());
    let rabbit = Rabbit::open(options).await.unwrap();
    let last = format!("hookbox.{}.route.{}", world.environment, routes[ROUTES - 1]);

    proxy.set(Mode::Late(FAR));
    world.delete(&last).await;
    let (began, lateness) = (Instant::now(), Lateness::measure());
    let why = until_not_ready(&rabbit).await;
    let (took, allowance) = (began.elapsed(), lateness.allowance());
    assert!(took < NAMED_WITHIN + allowance, "{took:?}");
    assert!(why.contains(&format!("{last} is missing")), "{why}");
    // On a busy machine, a check may be late as on a slow connection. A warning about that is then
    // allowed.
    let is_in_time = !log.said().contains("did not answer in time");
    assert!(is_in_time || !allowance.is_zero(), "{}", log.said());
    assert_eq!(
        world.waiting(&last).await,
        None,
        "the driver must not declare the deleted queue"
    );

    // A check that exceeds its deadline must be logged, and must still find the deleted queue.
    proxy.set(Mode::Pass);
    assert_eq!(declare_all().await, [&*last]);
    until_ready(&rabbit).await;
    proxy.set(Mode::Late(VERY_FAR));
    eventually(
        "a check that exceeds its deadline must be logged",
        async || {
            let said = log.said();
            let is_logged = said.contains("queues did not answer in time");
            is_logged.then_some(()).ok_or(said)
        },
    )
    .await;
    world.delete(&last).await;
    let why = until_not_ready(&rabbit).await;
    assert!(why.contains(&format!("{last} is missing")), "{why}");
    proxy.set(Mode::Pass);
    rabbit.close().await;
    drop(proxy);
    world.finish().await;
}
