//! Two drivers use one file at once, as two processes do. In the last test a process is killed.

use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, BufReader};

use super::*;
use hookbox_driver::{Ledger, Queue};

fn queue() -> Queue {
    Queue::Route(route("a"))
}

#[tokio::test]
async fn one_process_receives_what_another_publishes() {
    let world = World::new();
    let (here, there) = (world.open().await, world.open().await);
    let mut subscription = there.subscribe(&queue(), 4).await.unwrap();
    for n in 0..20 {
        here.publish(&[route("a")], &batch([n])).await.unwrap();
        let delivery = next(&mut subscription).await;
        assert_eq!(numbers(&delivery), [n]);
        delivery.ack().await.unwrap();
    }
    subscription.close().await;
    close(here).await;
    close(there).await;
    world.end().await;
}

#[tokio::test]
async fn of_concurrent_claims_in_two_processes_one_is_fresh() {
    let world = World::new();
    let patient = |options: &mut Options| {
        options.busy_timeout = PATIENCE;
        options.writer_wait = PATIENCE;
    };
    let (here, there) = (
        world.open_with(patient).await,
        world.open_with(patient).await,
    );
    let drivers = [Arc::new(here), Arc::new(there)];
    let mut claiming = tokio::task::JoinSet::new();
    for n in 0..25 {
        for (which, driver) in (1_u8..).zip(&drivers) {
            let driver = Arc::clone(driver);
            claiming.spawn(async move {
                // The two drivers claim the same events in opposite orders, which must not end in a
                // deadlock.
                let (one, two) = (another_receipt(n, which), another_receipt(n + 100, which));
                let order = if which == 1 {
                    [&one, &two]
                } else {
                    [&two, &one]
                };
                process(&driver, "a", &order).await
            });
        }
    }
    let mut fresh = 0;
    while let Some(claimed) = claiming.join_next().await {
        let claimed = claimed.unwrap();
        fresh += claimed.iter().filter(|one| **one == Claimed::Fresh).count();
        assert!(
            claimed
                .iter()
                .all(|one| matches!(one, Claimed::Fresh | Claimed::Duplicate))
        );
    }
    assert_eq!(fresh, 50);
    let [here, there] = drivers;
    let books = here.books().await.unwrap();
    assert_eq!((books[0].done, books[0].duplicate), (50, 50));
    assert_eq!(here.imbalances(10).await.unwrap(), []);
    close(Arc::into_inner(here).unwrap()).await;
    close(Arc::into_inner(there).unwrap()).await;
    world.end().await;
}

#[tokio::test]
async fn two_consumers_share_a_queue_without_a_message_twice() {
    let world = World::new();
    let patient = |options: &mut Options| options.busy_timeout = PATIENCE;
    let (here, there) = (
        world.open_with(patient).await,
        world.open_with(patient).await,
    );
    for n in 0..60 {
        here.publish(&[route("a")], &batch([n])).await.unwrap();
    }
    let mut subscriptions = [
        here.subscribe(&queue(), 5).await.unwrap(),
        there.subscribe(&queue(), 5).await.unwrap(),
    ];
    let mut came = Vec::new();
    let [one, two] = &mut subscriptions;
    while came.len() < 60 {
        let delivery = tokio::select! {
            delivery = next(one) => delivery,
            delivery = next(two) => delivery,
        };
        came.extend(numbers(&delivery));
        delivery.ack().await.unwrap();
    }
    came.sort_unstable();
    assert_eq!(came, (0..60).collect::<Vec<_>>());
    for subscription in subscriptions {
        subscription.close().await;
    }
    assert_eq!(world.number("select count(*) from messages").await, 0);
    close(here).await;
    close(there).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_writes_without_a_pause_starves_no_other() {
    /// How long a publish may take: far longer than a sync of the disk. In an earlier version, in
    /// which SQLite itself waited for the lock, some of 200 publishes took this long.
    const STARVED: Duration = Duration::from_secs(2);
    let world = World::new();
    let busy = world.open_with(|options| options.busy_timeout = PATIENCE);
    let other = world.open_with(|options| options.busy_timeout = STARVED);
    let (busy, other) = (Arc::new(busy.await), other.await);
    let stop = tokio_util::sync::CancellationToken::new();
    let mut writing = tokio::task::JoinSet::new();
    writing.spawn({
        let (busy, stop) = (Arc::clone(&busy), stop.clone());
        async move {
            let mut n = 1_000;
            while !stop.is_cancelled() {
                process(&busy, "a", &[&envelope(n)]).await;
                n += 1;
            }
            n - 1_000
        }
    });
    for n in 0..200 {
        other.publish(&[route("a")], &batch([n])).await.unwrap();
    }
    stop.cancel();
    let written: Vec<u64> = writing.join_all().await;
    assert!(written[0] > 0);
    close(Arc::into_inner(busy).unwrap()).await;
    close(other).await;
    world.end().await;
}

/// The environment variable with the path of the file, for the process that is killed.
const CHILD_FILE: &str = "HOOKBOX_TEST_SQLITE_CHILD_FILE";

/// Not a test of its own. [`a_killed_process_loses_nothing_it_confirmed`] runs it in another
/// process, and kills that process. It publishes for ever, prints each confirm, and receives
/// messages without settling them.
#[tokio::test]
async fn the_process_to_be_killed() {
    let Some(path) = std::env::var_os(CHILD_FILE) else {
        return;
    };
    let driver = Sqlite::open(options(Path::new(&path))).await.unwrap();
    let mut subscription = driver.subscribe(&queue(), 5).await.unwrap();
    let mut in_flight = Vec::new();
    for n in 0.. {
        driver
            .publish(&[route("a"), route("b")], &batch([n]))
            .await
            .unwrap();
        println!("\nconfirmed {n}");
        in_flight.extend(subscription.try_next());
    }
}

#[tokio::test]
async fn a_killed_process_loses_nothing_it_confirmed() {
    let world = World::new();
    migrate(world.options()).await.unwrap();
    for round in 0..3 {
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "tests::processes::the_process_to_be_killed",
                "--nocapture",
            ])
            .env(CHILD_FILE, world.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut confirmed = 0;
        let confirms = async {
            while confirmed < 30 + round {
                let line = lines.next_line().await.unwrap().unwrap();
                confirmed += i64::from(line.starts_with("confirmed "));
            }
        };
        timeout(PATIENCE, confirms).await.unwrap();
        child.kill().await.unwrap();

        let driver = Sqlite::open(world.options()).await.unwrap();
        let integrity = "select count(*) from pragma_integrity_check where integrity_check = 'ok'";
        assert_eq!(world.number(integrity).await, 1);
        for name in ["a", "b"] {
            let queue = Queue::Route(route(name));
            let mut subscription = driver.subscribe(&queue, 50).await.unwrap();
            drain(&mut subscription, 0..confirmed as u64).await;
            // The queue may hold more messages than the process confirmed: it may have been killed
            // after it stored a message and before it printed the confirm.
            eventually(
                "the queue must become empty when every message was acknowledged",
                async || {
                    if let Some(delivery) = subscription.try_next() {
                        delivery.ack().await.unwrap();
                    }
                    let depths = driver.depths().await.unwrap();
                    depths
                        .iter()
                        .filter(|one| one.queue == queue)
                        .all(|one| one.events == Some(0))
                },
            )
            .await;
            subscription.close().await;
        }
        close(driver).await;
    }
    world.end().await;
}
