//! Tests the order in which publishes, deliveries, workers and operators get the writing
//! connection. In each test, a transaction holds the connection until all callers wait for it, so
//! the order does not depend on timing.

use std::sync::Arc;

use super::*;
use crate::file::purpose::Purpose;
use hookbox_driver::{Ledger, Queue};
use tokio::task::JoinSet;

/// The number of workers that wait for the connection at once.
const WORKERS: usize = 5;

/// Waits until this many callers wait for a transaction of this purpose.
async fn until_waiting(driver: &Sqlite, purpose: Purpose, callers: usize) {
    let what = format!("{callers} callers must wait for the writing connection ({purpose:?})");
    eventually(&what, async || {
        driver.shared.writer.waiting(purpose) == callers
    })
    .await;
}

/// Starts workers, and returns when all of them wait for the connection. Each will run this query
/// in its transaction.
async fn workers(driver: &Arc<Sqlite>, count: usize, query: &'static str) -> JoinSet<i64> {
    let mut workers = JoinSet::new();
    for _ in 0..count {
        let driver = Arc::clone(driver);
        workers.spawn(async move {
            let mut tx = driver.begin().await.unwrap();
            let number = sqlx::query_scalar(query)
                .fetch_one(driver.connection(&mut tx))
                .await
                .unwrap();
            Store::rollback(&*driver, tx).await;
            number
        });
    }
    until_waiting(driver, Purpose::Process, count).await;
    workers
}

#[tokio::test]
async fn a_publish_goes_before_the_workers_that_wait() {
    let world = World::new();
    let driver = Arc::new(world.open().await);
    let tx = driver.begin().await.unwrap();
    let workers = workers(&driver, WORKERS, "select count(*) from messages").await;
    let publish = async { driver.publish(&[route("a")], &batch([1])).await };
    let release = async {
        until_waiting(&driver, Purpose::Accept, 1).await;
        Store::rollback(&*driver, tx).await;
    };
    tokio::join!(publish, release).0.unwrap();
    assert_eq!(workers.join_all().await, [1; WORKERS]);
    close(Arc::into_inner(driver).unwrap()).await;
    world.end().await;
}

#[tokio::test]
async fn a_worker_waits_for_one_transaction_of_publishes() {
    let world = World::new();
    let driver = Arc::new(world.open().await);
    let tx = driver.begin().await.unwrap();
    let mut publishing = JoinSet::new();
    for n in 0..100 {
        let driver = Arc::clone(&driver);
        publishing.spawn(async move { driver.publish(&[route("a")], &batch([n])).await });
    }
    // The publisher has taken one publish and waits for the connection. The other 99 publishes wait
    // for the publisher.
    let jobs = &driver.shared.jobs;
    eventually("99 publishes must wait for the publisher", async || {
        jobs.max_capacity() - jobs.capacity() == 99
    })
    .await;
    until_waiting(&driver, Purpose::Accept, 1).await;
    let workers = workers(&driver, 1, "select count(*) from messages").await;
    Store::rollback(&*driver, tx).await;
    // One transaction takes at most 64 publishes, and the worker must run before the next one. So
    // the worker finds 64 messages.
    assert_eq!(workers.join_all().await, [64]);
    while let Some(published) = publishing.join_next().await {
        published.unwrap().unwrap();
    }
    assert_eq!(world.number("select count(*) from messages").await, 100);
    close(Arc::into_inner(driver).unwrap()).await;
    world.end().await;
}

#[tokio::test]
async fn an_operator_goes_before_the_workers_that_wait() {
    let world = World::new();
    let driver = Arc::new(world.open().await);
    let tx = driver.begin().await.unwrap();
    let workers = workers(&driver, WORKERS, "select count(*) from audit").await;
    let operator = driver.audit("ann", "test", "nothing");
    let release = async {
        until_waiting(&driver, Purpose::Operate, 1).await;
        Store::rollback(&*driver, tx).await;
    };
    tokio::join!(operator, release).0.unwrap();
    assert_eq!(workers.join_all().await, [1; WORKERS]);
    close(Arc::into_inner(driver).unwrap()).await;
    world.end().await;
}

#[tokio::test]
async fn a_delivery_goes_before_the_workers_that_wait() {
    let world = World::new();
    let driver = Arc::new(world.open().await);
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    let tx = driver.begin().await.unwrap();
    let workers = workers(&driver, WORKERS, "select deliveries from messages").await;
    let queue = Queue::Route(route("a"));
    let mut subscription = driver.subscribe(&queue, 1).await.unwrap();
    until_waiting(&driver, Purpose::Drain, 1).await;
    Store::rollback(&*driver, tx).await;
    let delivery = next(&mut subscription).await;
    assert_eq!(workers.join_all().await, [1; WORKERS]);
    delivery.ack().await.unwrap();
    subscription.close().await;
    close(Arc::into_inner(driver).unwrap()).await;
    world.end().await;
}
