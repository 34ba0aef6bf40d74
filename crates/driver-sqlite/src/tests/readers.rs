//! Reads that are given up, as at a time limit: the statement must end, or it would hold one of the
//! few readers, and a snapshot with the write-ahead log behind it.

use super::*;
use hookbox_driver::Ledger;

/// Begins a statement that never ends by itself, and stops waiting for it.
async fn give_up_an_endless_read(connection: &mut SqliteConnection) {
    let endless = sqlx::query_scalar::<_, i64>(
        "with recursive n (i) as (select 1 union all select i + 1 from n)
         select count(*) from n, (select count(*) from messages)",
    )
    .fetch_one(connection);
    assert!(timeout(Duration::from_millis(50), endless).await.is_err());
}

/// Checks that the only reader is free, and that no snapshot is left, which would keep SQLite from
/// truncating the write-ahead log.
async fn is_free(driver: &Sqlite, world: &World, case: &str) {
    if let Err(fault) = driver.ping().await {
        panic!("{case}: the reader must be free: {fault}");
    }
    assert_eq!(driver.imbalances(10).await.unwrap(), [], "{case}");
    // The first column of the result is 1 when the checkpoint was kept from truncating the log.
    let busy = world.number("pragma wal_checkpoint(truncate)").await;
    assert_eq!(busy, 0, "{case}");
}

#[tokio::test]
async fn a_read_that_is_given_up_frees_its_reader() {
    let world = World::new();
    let driver = world.open_with(|options| options.readers = 1).await;
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    let mut reader = driver.shared.readers.take().await.unwrap();
    give_up_an_endless_read(&mut reader).await;
    drop(reader);
    is_free(&driver, &world, "a read").await;
    let mut snapshot = driver.shared.readers.snapshot().await.unwrap();
    give_up_an_endless_read(&mut snapshot).await;
    drop(snapshot);
    is_free(&driver, &world, "a snapshot").await;
    close(driver).await;
    world.end().await;
}

/// All reads of a file that no path leads to share one connection.
#[tokio::test]
async fn a_read_of_a_displaced_file_that_is_given_up_frees_its_connection() {
    let world = World::new();
    let driver = world.open_with(|options| options.exclusive = true).await;
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    std::fs::remove_file(world.path()).unwrap();
    assert!(driver.ping().await.is_err());
    let mut reader = driver.shared.readers.take_for_queues().await.unwrap();
    give_up_an_endless_read(&mut reader).await;
    drop(reader);
    let depths = timeout(PATIENCE, driver.depths()).await.unwrap().unwrap();
    assert_eq!(depths[0].events, Some(1), "{depths:?}");
    close(driver).await;
}
