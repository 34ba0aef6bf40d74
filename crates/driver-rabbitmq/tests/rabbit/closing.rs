//! What is left of a driver that is closed or dropped: no thread, no warning.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hookbox_driver::{Broker, Queue};

use crate::alone::{alone, amqp_threads, no_amqp_thread_is_left};
use crate::world::{World, batch, next, route, subscribe, take};

#[tokio::test]
async fn a_closed_driver_leaves_no_thread() {
    if !alone("closing::a_closed_driver_leaves_no_thread") {
        return;
    }
    let world = World::new().await;
    let rabbit = world.open().await;
    rabbit.publish(&[route()], &batch("one")).await.unwrap();
    take(&rabbit, "one").await;
    assert!(amqp_threads().len() > 2, "{:?}", amqp_threads());
    let began = Instant::now();
    rabbit.close().await;
    drop(rabbit);
    assert!(began.elapsed() < Duration::from_secs(1));
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
    let in_hand = next(&mut *subscription).await;
    drop(rabbit);
    drop((subscription, in_hand));
    world.finish().await;
    no_amqp_thread_is_left().await;
}

/// A log that a test reads.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn an_orderly_life_warns_of_nothing() {
    if !alone("closing::an_orderly_life_warns_of_nothing") {
        return;
    }
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_writer(move || writer.clone())
        .init();
    let world = World::new().await;
    let rabbit = world.open().await;
    rabbit.publish(&[route()], &batch("one")).await.unwrap();
    take(&rabbit, "one").await;
    rabbit.close().await;
    drop(rabbit);
    world.finish().await;
    let said = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(said.contains("is declared"), "{said}");
    // Ours only: lapin calls it an error when a queue that is looked for is not there.
    let ours: Vec<&str> = said
        .lines()
        .filter(|line| line.contains(" hookbox_driver_rabbitmq"))
        .collect();
    assert!(!ours.is_empty(), "{said}");
    let bad = |line: &&str| line.contains(" WARN ") || line.contains(" ERROR ");
    assert!(!ours.iter().any(bad), "{ours:?}");
}
