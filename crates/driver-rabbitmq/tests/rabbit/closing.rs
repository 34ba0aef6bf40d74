//! Tests that a driver that was closed or dropped leaves no thread behind, and that closing logs no
//! warning.

use std::time::{Duration, Instant};

use hookbox_driver::{Broker, Queue};
use hookbox_testkit::eventually::eventually;
use hookbox_testkit::proxy::{Mode, Proxy};

use crate::alone::{Log, alone, amqp_threads, no_amqp_thread_is_left};
use crate::world::{
    PATIENCE, World, batch, next, open, route, subscribe, take, until_not_ready, until_ready, url,
};

/// The longest time for an operation that must not wait for anything, on a busy machine. It is
/// shorter than the time after which a missed heartbeat ends a connection.
const SLACK: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_closed_driver_leaves_no_thread() {
    if !alone("closing::a_closed_driver_leaves_no_thread") {
        return;
    }
    let world = World::new().await;
    let mut options = world.options();
    options.close_deadline = PATIENCE;
    let rabbit = open(options).await;
    rabbit.publish(&[route()], &batch("one")).await.unwrap();
    take(&rabbit, "one").await;
    assert!(amqp_threads().len() > 2, "{:?}", amqp_threads());
    let began = Instant::now();
    rabbit.close().await;
    drop(rabbit);
    assert!(
        began.elapsed() < PATIENCE / 2,
        "closing and dropping the driver must not wait for a deadline"
    );
    world.finish().await;
    no_amqp_thread_is_left().await;
}

#[tokio::test]
async fn a_dropped_driver_leaves_no_thread() {
    if !alone("closing::a_dropped_driver_leaves_no_thread") {
        return;
    }
    let world = World::new().await;
    let rabbit = world.open().await;
    rabbit.publish(&[route()], &batch("one")).await.unwrap();
    let mut subscription = subscribe(&rabbit, Queue::Route(route())).await;
    let in_flight = next(&mut *subscription).await;
    drop(rabbit);
    drop((subscription, in_flight));
    world.finish().await;
    no_amqp_thread_is_left().await;
}

/// The client library keeps a thread for a dead connection until the heartbeat is missed. Once the
/// driver has connected again, the thread of the lost connection must end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_connection_leaves_no_thread() {
    if !alone("closing::a_lost_connection_leaves_no_thread") {
        return;
    }
    let world = World::new().await;
    let raw = lapin_threads();
    let proxy = Proxy::before(&url()).unwrap();
    let mut options = world.options();
    options.url = proxy.url(&url());
    options.heartbeat_seconds = 1;
    options.confirm_deadline = Duration::from_secs(1);
    options.close_deadline = Duration::from_millis(300);
    let rabbit = open(options).await;
    for _ in 0..3 {
        proxy.set(Mode::Hole);
        rabbit
            .publish(&[route()], &batch("lost"))
            .await
            .unwrap_err();
        until_not_ready(&rabbit).await;
        proxy.set(Mode::Pass);
        until_ready(&rabbit).await;
    }
    eventually(
        "while the driver is open, lapin must have only one thread more than before",
        async || match lapin_threads() - raw {
            1 => Ok(()),
            other => Err(other),
        },
    )
    .await;
    rabbit.close().await;
    drop(rabbit);
    world.finish().await;
    no_amqp_thread_is_left().await;
}

/// Closing the driver while the broker does not answer must take a limited time and leave no thread
/// behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_over_a_dead_connection_is_bounded_and_leaves_no_thread() {
    if !alone("closing::closing_over_a_dead_connection_is_bounded_and_leaves_no_thread") {
        return;
    }
    let world = World::new().await;
    let proxy = Proxy::before(&url()).unwrap();
    let mut options = world.options();
    options.url = proxy.url(&url());
    options.close_deadline = Duration::from_millis(300);
    let bound = options.close_deadline * 3 + SLACK;
    let rabbit = open(options).await;
    let subscription = subscribe(&rabbit, Queue::Route(route())).await;
    proxy.set(Mode::Hole);
    let began = Instant::now();
    rabbit.close().await;
    assert!(began.elapsed() < bound, "{:?}", began.elapsed());
    drop(rabbit);
    drop(subscription);
    world.finish().await;
    no_amqp_thread_is_left().await;
    // Dropping the proxy closes the sockets. The threads must have ended before that, so the proxy
    // is dropped only here.
    drop(proxy);
}

fn lapin_threads() -> usize {
    let threads = amqp_threads();
    threads
        .iter()
        .filter(|name| name.starts_with("lapin"))
        .count()
}

#[tokio::test]
async fn opening_using_and_closing_the_driver_logs_no_warning() {
    if !alone("closing::opening_using_and_closing_the_driver_logs_no_warning") {
        return;
    }
    let log = Log::begin();
    let world = World::new().await;
    let rabbit = world.open().await;
    rabbit.publish(&[route()], &batch("one")).await.unwrap();
    take(&rabbit, "one").await;
    rabbit.close().await;
    drop(rabbit);
    world.finish().await;
    let said = log.said();
    // Only hookbox's own lines count: lapin itself logs an error when a queue that hookbox checks
    // does not exist.
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(" hookbox_driver_rabbitmq"))
        .collect();
    assert!(!ours.is_empty(), "{said}");
    let bad = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
    assert!(!ours.iter().any(bad), "{ours:?}");
}
