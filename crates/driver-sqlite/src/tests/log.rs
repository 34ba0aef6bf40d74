//! The write-ahead log grows while a reader keeps an old snapshot open, and must shrink again when
//! the reader ends.

use super::*;
use hookbox_driver::Queue;

#[tokio::test]
async fn a_long_reader_lets_the_log_grow_and_the_log_shrinks_after_it() {
    /// The size of the log, in bytes, at which SQLite by default makes a checkpoint: a thousand
    /// pages of 4 KiB.
    const CHECKPOINT: u64 = 1_000 * 4_096;
    /// The size in bytes to which the driver lets SQLite truncate the log.
    const KEPT: u64 = 64 << 20;
    let world = World::new();
    let driver = world.open().await;
    let body = vec![b'x'; 1 << 20];
    let large = Batch {
        bytes: body.into(),
        ..batch([1])
    };
    let mut reader = world.meddle().await;
    sqlx::raw_sql("begin; select count(*) from messages")
        .execute(&mut reader)
        .await
        .unwrap();
    for _ in 0..80 {
        driver.publish(&[route("a")], &large).await.unwrap();
    }
    let grown = driver.log_bytes().unwrap();
    assert!(
        grown > KEPT + CHECKPOINT,
        "while a reader is open, no checkpoint may empty the log, but it has only {grown} bytes"
    );
    // Messages must be delivered and settled while the reader is open.
    let queue = Queue::Route(route("a"));
    let mut subscription = driver.subscribe(&queue, 4).await.unwrap();
    for _ in 0..80 {
        next(&mut subscription).await.ack().await.unwrap();
    }
    subscription.close().await;
    sqlx::raw_sql("commit").execute(&mut reader).await.unwrap();
    reader.close().await.unwrap();
    // After one of the next commits, a checkpoint can empty the whole log, and SQLite truncates it.
    eventually(
        "the log must be truncated after the reader has ended",
        async || {
            driver.publish(&[route("b")], &batch([2])).await.unwrap();
            driver.log_bytes().unwrap() <= KEPT
        },
    )
    .await;
    close(driver).await;
    world.end().await;
}
