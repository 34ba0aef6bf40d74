//! A SQLite file on a disk that is full or nearly full. hookbox can still read the file, so the
//! worker must not treat it as an unavailable store. The monitor must report the disk.

use std::time::Duration;

use hookbox_conformance::envelope;
use hookbox_driver::{Broker, FaultKind, Ledger, Store, describe};
use hookbox_testkit::eventually::eventually_is;
use hookbox_tests::small_disk::SmallDisk;
use hookbox_tests::sqlite::SqliteWorld;

use crate::embedded::Embedded;
use crate::probe::Pair;
use crate::whole::settled;

/// The size of the disk, in MiB. The driver accepts no event that would leave less than an eighth
/// of the disk free, and processes none that would leave less than a sixteenth free.
const DISK_MIB: u32 = 64;

/// How many bytes of the disk are left free: between the 8 MiB that must be free to accept events
/// and the 4 MiB that must be free to process them. So events are refused, and processing
/// continues. The 2 MiB on either side are for the write-ahead log of a few events.
const LITTLE: u64 = 6 << 20;

/// The time limit of the handler, short because the handler of this test always exceeds it.
const TIME_LIMIT: Duration = Duration::from_secs(1);

const ROUTES: [&str; 2] = ["one", "two"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_on_a_full_disk_answers_a_ping_and_fails_a_probe() {
    let Some(disk) = SmallDisk::new(DISK_MIB) else {
        return;
    };
    let world = SqliteWorld::within(disk.folder(), &ROUTES).await;
    let driver = world.open().await;
    driver.probe().await.unwrap();
    disk.fill();
    driver.ping().await.unwrap();
    let fault = driver.probe().await.unwrap_err();
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    let named = format!("the disk of {} is full", world.path().display());
    let said = describe(&fault);
    assert!(said.contains(&named), "{said}");
    // From here on only `probe` writes to the file. So only this write can notice that the disk has
    // free space again.
    disk.free();
    let found = async || driver.probe().await.map_err(|fault| describe(&fault)).err();
    eventually_is(
        "`probe` must succeed, because the disk has free space again",
        found,
        Option::is_none,
    )
    .await;
    Broker::close(&driver).await;
    world.finish().await;
}

/// Checks a handler that exceeds its time limit on a nearly full disk. The broker accepts no
/// further event there, but a worker can process the events that it has. The disk does not delay
/// the handler. So the attempts must count, and must not be taken for faults of the store.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn little_room_excuses_no_handler_that_hangs() {
    let Some(disk) = SmallDisk::new(DISK_MIB) else {
        return;
    };
    let world = SqliteWorld::within(disk.folder(), &ROUTES).await;
    let (brokers, stores) = Embedded::pair_in(world);
    let pair = Pair::open(brokers, stores).await;
    pair.publish(&[envelope("hangs-1")]).await;
    disk.fill_but(LITTLE);
    pair.store.probe().await.unwrap_err();
    let worker = pair.work_within(TIME_LIMIT);
    let id = envelope("hangs-1").event.to_string();
    let attempts = async || {
        let event = pair.store.event(&id).await.unwrap();
        event.map_or(Vec::new(), |event| event.attempts)
    };
    let spent = eventually_is(
        "the first attempt of the hanging event must be recorded as failed",
        attempts,
        |all| !all.is_empty(),
    )
    .await;
    assert_eq!(spent[0].outcome.as_str(), "timed_out");
    pair.store.probe().await.unwrap_err();
    pair.store.ping().await.unwrap();
    disk.free();
    let books = settled(&pair, |books| books.dead == 1).await;
    assert_eq!(books.receipts(), 1);
    worker.stop().await;
    assert_eq!(attempts().await.len(), 2);
    pair.finish().await;
}
