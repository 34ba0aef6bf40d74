//! Tests of the promises of the broker, with one process.

use super::*;
use hookbox_driver::{FaultKind, PublishErrorKind, Queue, Readiness};

fn queue(name: &str) -> Queue {
    Queue::Route(route(name))
}

#[tokio::test]
async fn bytes_survive_exactly() {
    let world = World::new();
    let driver = world.open().await;
    let mut odd = envelope(1);
    odd.body = (0..=255_u8)
        .cycle()
        .take(300_000)
        .collect::<Vec<_>>()
        .into();
    odd.traceparent = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned());
    let sent = Batch::of(&[odd.clone(), envelope(2)]).unwrap();
    driver.publish(&[route("a")], &sent).await.unwrap();
    let mut subscription = driver.subscribe(&queue("a"), 1).await.unwrap();
    let delivery = next(&mut subscription).await;
    assert_eq!(delivery.bytes, sent.bytes);
    assert!(!delivery.redelivered);
    assert_eq!(delivery.died_in, None);
    let frames = decode_batch(&delivery.bytes).unwrap();
    assert_eq!(frames, [Ok(odd), Ok(envelope(2))]);
    delivery.ack().await.unwrap();
    subscription.close().await;
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn a_batch_for_two_routes_reaches_both() {
    let world = World::new();
    let driver = world.open().await;
    let routes = [route("a"), route("b")];
    driver.publish(&routes, &batch([1, 2])).await.unwrap();
    for name in ["a", "b"] {
        let mut subscription = driver.subscribe(&queue(name), 1).await.unwrap();
        let delivery = next(&mut subscription).await;
        assert_eq!(numbers(&delivery), [1, 2]);
        delivery.ack().await.unwrap();
        subscription.close().await;
    }
    assert_eq!(world.number("select count(*) from messages").await, 0);
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn publishing_to_nowhere_is_an_error() {
    let world = World::new();
    let driver = world.open().await;
    for routes in [vec![], vec![route("c")], vec![route("a"), route("c")]] {
        let error = driver.publish(&routes, &batch([1])).await.unwrap_err();
        assert_eq!(error.kind, PublishErrorKind::Unroutable);
    }
    assert_eq!(world.number("select count(*) from messages").await, 0);
    let fault = driver.subscribe(&queue("c"), 1).await.err().unwrap();
    assert_eq!(fault.kind(), FaultKind::Internal);
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn published_survives_a_restart_of_the_driver() {
    let world = World::new();
    let driver = world.open().await;
    for n in 0..10 {
        driver.publish(&[route("a")], &batch([n])).await.unwrap();
    }
    close(driver).await;
    let driver = world.open().await;
    let mut subscription = driver.subscribe(&queue("a"), 4).await.unwrap();
    assert_eq!(drain(&mut subscription, 0..10).await, 10);
    subscription.close().await;
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn concurrent_publishes_share_commits_and_lose_nothing() {
    let world = World::new();
    let driver = std::sync::Arc::new(world.open().await);
    // While a transaction holds the writing connection, all publishes wait. Then they share a few
    // transactions.
    let tx = driver.begin().await.unwrap();
    let mut publishing = tokio::task::JoinSet::new();
    for n in 0..100 {
        let driver = std::sync::Arc::clone(&driver);
        publishing.spawn(async move { driver.publish(&[route("a")], &batch([n])).await });
    }
    let line = async || driver.shared.jobs.capacity() < driver.shared.jobs.max_capacity() - 90;
    eventually(
        "most of the 100 publishes must wait while a transaction holds the writing connection",
        line,
    )
    .await;
    driver.rollback(tx).await;
    while let Some(published) = publishing.join_next().await {
        published.unwrap().unwrap();
    }
    assert_eq!(world.number("select count(*) from messages").await, 100);
    let moments = "select count(distinct published_at) from messages";
    assert!(
        world.number(moments).await <= 10,
        "100 publishes must share at most 10 commits"
    );
    let driver = std::sync::Arc::into_inner(driver).unwrap();
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn publish_answers_within_its_deadline_whatever_holds_the_lock() {
    let world = World::new();
    let driver = world
        .open_with(|options| {
            options.publish_deadline = Duration::from_millis(200);
            options.busy_timeout = PATIENCE;
        })
        .await;
    let lock = world.lock().await;
    let started = Instant::now();
    let error = driver
        .publish(&[route("a")], &batch([1]))
        .await
        .unwrap_err();
    assert_eq!(error.kind, PublishErrorKind::TimedOut);
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    lock.close().await.unwrap();
    // The caller of the first publish has stopped waiting, so its batch must not be written.
    driver.publish(&[route("a")], &batch([2])).await.unwrap();
    let mut subscription = driver.subscribe(&queue("a"), 4).await.unwrap();
    assert_eq!(drain(&mut subscription, 2..3).await, 1);
    subscription.close().await;
    assert_eq!(world.number("select count(*) from messages").await, 0);
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn readiness_follows_the_lock_without_a_publish() {
    let world = World::new();
    let driver = world.open_with(impatient).await;
    assert_eq!(driver.readiness(), Readiness::Ready);
    let lock = world.lock().await;
    let error = driver
        .publish(&[route("a")], &batch([1]))
        .await
        .unwrap_err();
    assert_eq!(error.kind, PublishErrorKind::TimedOut);
    assert!(matches!(driver.readiness(), Readiness::NotReady { .. }));
    lock.close().await.unwrap();
    let ready = async || driver.readiness() == Readiness::Ready;
    eventually(
        "the broker must become ready after the other process has released its lock",
        ready,
    )
    .await;
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn a_full_disk_is_blocked_and_not_accepted() {
    let world = World::new();
    let driver = world.open().await;
    // SQLite's page limit causes the same error as a full disk. The limit applies to one connection
    // only.
    let mut tx = driver.begin().await.unwrap();
    let pages: i64 = sqlx::query_scalar("pragma page_count")
        .fetch_one(driver.connection(&mut tx))
        .await
        .unwrap();
    let limit = format!("pragma max_page_count = {pages}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(limit))
        .execute(driver.connection(&mut tx))
        .await
        .unwrap();
    driver.commit(tx).await.unwrap();
    let mut large = envelope(1);
    large.body = vec![b'x'; 200_000].into();
    let large = Batch::of(&[large]).unwrap();
    let error = driver.publish(&[route("a")], &large).await.unwrap_err();
    assert_eq!(error.kind, PublishErrorKind::Blocked);
    assert_eq!(world.number("select count(*) from messages").await, 0);
    // The next publish succeeds, because the limit was set on one connection only, and the failed
    // publish has closed that connection.
    driver.publish(&[route("a")], &large).await.unwrap();
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn a_file_at_its_bound_refuses_until_there_is_room() {
    let world = World::new();
    // The limit is well between the sizes of the file with six and with seven messages, so that a
    // page more or less does not matter.
    let bound = |options: &mut Options| options.bytes_max = Some(2_100_000);
    let driver = world.open_with(bound).await;
    let mut large = envelope(1);
    large.body = vec![b'x'; 300_000].into();
    let large = Batch::of(&[large]).unwrap();
    let mut taken = 0;
    let error = loop {
        match driver.publish(&[route("a")], &large).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
        assert!(
            taken < 7,
            "the file must refuse a publish before it exceeds its limit"
        );
    };
    assert_eq!(error.kind, PublishErrorKind::Blocked);
    assert!(
        taken >= 4,
        "2.1 MB must hold at least four messages of 300 kB, not only {taken}"
    );
    assert!(matches!(driver.readiness(), Readiness::NotReady { .. }));
    assert_eq!(world.number("select count(*) from messages").await, taken);
    // Messages of a full file must still be delivered, because acknowledging them frees space.
    let mut subscription = driver.subscribe(&queue("a"), 16).await.unwrap();
    next(&mut subscription).await.ack().await.unwrap();
    eventually(
        "a publish must succeed after an acknowledged message has freed space in the file",
        async || driver.publish(&[route("a")], &large).await.is_ok(),
    )
    .await;
    assert_eq!(driver.readiness(), Readiness::Ready);
    subscription.close().await;
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn acknowledged_is_gone_and_released_is_redelivered() {
    let world = World::new();
    let driver = world.open().await;
    for n in 1..=3 {
        driver.publish(&[route("a")], &batch([n])).await.unwrap();
    }
    let mut subscription = driver.subscribe(&queue("a"), 3).await.unwrap();
    let (one, two, three) = (
        next(&mut subscription).await,
        next(&mut subscription).await,
        next(&mut subscription).await,
    );
    assert_eq!(
        [numbers(&one), numbers(&two), numbers(&three)],
        [[1], [2], [3]]
    );
    one.ack().await.unwrap();
    two.release().await.unwrap();
    drop(three);
    let (two, three) = (next(&mut subscription).await, next(&mut subscription).await);
    assert_eq!([numbers(&two), numbers(&three)], [[2], [3]]);
    assert!(two.redelivered && three.redelivered);
    two.ack().await.unwrap();
    three.ack().await.unwrap();
    subscription.close().await;
    assert_eq!(world.number("select count(*) from messages").await, 0);
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn releasing_is_not_counted_and_dropping_is() {
    let world = World::new();
    let driver = world.open().await;
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    let mut subscription = driver.subscribe(&queue("a"), 1).await.unwrap();
    for _ in 0..5 {
        next(&mut subscription).await.release().await.unwrap();
    }
    let delivery = next(&mut subscription).await;
    assert_eq!(world.number("select deliveries from messages").await, 2);
    drop(delivery);
    let delivery = next(&mut subscription).await;
    assert_eq!(world.number("select deliveries from messages").await, 3);
    delivery.ack().await.unwrap();
    subscription.close().await;
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn prefetch_bounds_messages_in_flight() {
    let world = World::new();
    let driver = world.open().await;
    for n in 0..10 {
        driver.publish(&[route("a")], &batch([n])).await.unwrap();
    }
    let mut subscription = driver.subscribe(&queue("a"), 3).await.unwrap();
    let mut in_flight = Vec::new();
    for _ in 0..3 {
        in_flight.push(next(&mut subscription).await);
    }
    assert!(subscription.try_next().is_none());
    let depths = driver.depths().await.unwrap();
    let depth = depths
        .iter()
        .find(|depth| depth.queue == queue("a"))
        .unwrap();
    assert_eq!(
        (depth.ready, depth.unsettled, depth.events),
        (Some(7), Some(3), Some(10))
    );
    assert_eq!(depth.name, "hookbox.test.route.a");
    assert_eq!(
        depths.len(),
        4,
        "expected four queues: of two routes, of dead letters and of accept reports"
    );
    // The acknowledgements are in another order than the deliveries, and each must settle its own
    // message.
    in_flight.remove(1).ack().await.unwrap();
    assert_eq!(numbers(&next(&mut subscription).await), [3]);
    in_flight.remove(1).ack().await.unwrap();
    in_flight.remove(0).ack().await.unwrap();
    subscription.close().await;
    eventually(
        "the seven messages that were not acknowledged must return to the queue",
        async || {
            let left = world
                .number("select count(*) from messages where lease_until < 1.5e15")
                .await;
            left == 7
        },
    )
    .await;
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn a_message_in_flight_does_not_delay_others() {
    let world = World::new();
    let driver = world.open().await;
    let mut subscription = driver.subscribe(&queue("a"), 2).await.unwrap();
    driver.publish(&[route("a")], &batch([0])).await.unwrap();
    let slow = next(&mut subscription).await;
    for n in 1..30 {
        driver.publish(&[route("a")], &batch([n])).await.unwrap();
    }
    assert_eq!(drain(&mut subscription, 1..30).await, 29);
    slow.ack().await.unwrap();
    subscription.close().await;
    assert_eq!(world.number("select count(*) from messages").await, 0);
    close(driver).await;
    world.end().await;
}
