//! The file is deleted, moved, replaced or overwritten while the driver has it open. From then on,
//! the driver must not confirm anything.

use std::fs;
use std::process::Command;

use super::*;
use hookbox_driver::{
    CommitError, FaultKind, Ledger, NotReadyKind, PublishErrorKind, Queue, Readiness, describe,
};

fn queue() -> Queue {
    Queue::Route(route("a"))
}

/// Runs a command on the files in another process. If this process opened and closed such a file,
/// the locks that SQLite has on it here would be dropped.
fn run(program: &str, arguments: &[&Path]) {
    let done = Command::new(program).args(arguments).status().unwrap();
    assert!(done.success(), "{program} {arguments:?}");
}

/// Checks that every operation that would confirm something returns an error which names the path.
async fn refuses(driver: &Sqlite, path: &Path, case: &str) {
    let Readiness::NotReady { kind, why } = driver.readiness() else {
        panic!("{case}: the broker must not be ready after the file was displaced")
    };
    assert_eq!(kind, NotReadyKind::Storage, "{case}");
    assert!(why.contains(path.to_str().unwrap()), "{case}: {why}");
    let error = driver.publish(&[route("a")], &batch([9])).await;
    assert_eq!(
        error.unwrap_err().kind,
        PublishErrorKind::Unavailable,
        "{case}"
    );
    let failure = Failure {
        route: &route("a"),
        envelope: &envelope(9),
        attempt: 1,
        attempts_before: 0,
        other_digest: None,
        class: FailureClass::Transient,
        error: "it went wrong".to_owned(),
        took: Duration::ZERO,
        then: Then::Retry {
            after: Duration::ZERO,
        },
        is_expired_deferral: false,
    };
    for fault in [
        driver.begin().await.err(),
        driver.fail(&failure).await.err(),
        driver.ping().await.err(),
        driver.books().await.err(),
    ] {
        let fault = fault.unwrap_or_else(|| {
            panic!("{case}: every operation must be refused after the file was displaced")
        });
        assert_eq!(fault.kind(), FaultKind::Unavailable, "{case}");
        let said = describe(&fault);
        assert!(said.contains(path.to_str().unwrap()), "{case}: {said}");
    }
}

#[tokio::test]
async fn a_file_that_is_not_at_its_path_is_refused_whatever_happened_to_it() {
    type Case = (&'static str, fn(&World));
    let cases: [Case; 7] = [
        ("deleted", |world| fs::remove_file(world.path()).unwrap()),
        ("moved", |world| {
            fs::rename(world.path(), world.folder.join("elsewhere.db")).unwrap();
        }),
        ("replaced", |world| {
            fs::rename(world.folder.join("backup.db"), world.path()).unwrap();
        }),
        ("created anew", |world| {
            fs::remove_file(world.path()).unwrap();
            fs::write(world.path(), "").unwrap();
        }),
        ("the write-ahead log was deleted", |world| {
            fs::remove_file(world.folder.join("hookbox.db-wal")).unwrap();
        }),
        ("the write-ahead log was replaced", |world| {
            fs::rename(
                world.folder.join("empty"),
                world.folder.join("hookbox.db-wal"),
            )
            .unwrap();
        }),
        ("the `-shm` file was deleted", |world| {
            fs::remove_file(world.folder.join("hookbox.db-shm")).unwrap();
        }),
    ];
    for (case, displace) in cases {
        let world = World::new();
        migrate(world.options()).await.unwrap();
        fs::copy(world.path(), world.folder.join("backup.db")).unwrap();
        fs::write(world.folder.join("empty"), "").unwrap();
        let driver = world.open().await;
        driver.publish(&[route("a")], &batch([1])).await.unwrap();
        assert_eq!(driver.readiness(), Readiness::Ready);
        displace(&world);
        refuses(&driver, &world.path(), case).await;
        if case == "deleted" {
            assert!(
                !world.path().exists(),
                "the deleted file must not be created again"
            );
        }
        close(driver).await;
    }
}

#[tokio::test]
async fn a_folder_that_is_moved_takes_the_file_from_its_path() {
    let world = World::new();
    let inner = world.folder.join("inner");
    fs::create_dir(&inner).unwrap();
    let path = inner.join("hookbox.db");
    let options = options(&path);
    migrate(options.clone()).await.unwrap();
    let driver = Sqlite::open(options).await.unwrap();
    fs::rename(&inner, world.folder.join("outer")).unwrap();
    refuses(&driver, &path, "the folder was moved").await;
    close(driver).await;
}

#[tokio::test]
async fn a_symlink_that_leads_elsewhere_is_another_file() {
    let world = World::new();
    let mut options = world.options();
    migrate(options.clone()).await.unwrap();
    let link = world.folder.join("link.db");
    std::os::unix::fs::symlink(world.path(), &link).unwrap();
    options.path = link.clone();
    let driver = Sqlite::open(options.clone()).await.unwrap();
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    let other = world.folder.join("other.db");
    options.path = other.clone();
    migrate(options).await.unwrap();
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&other, &link).unwrap();
    refuses(&driver, &link, "the link leads to another file").await;
    close(driver).await;
}

/// `cp` changes the content of the file and keeps its inode number, and an open connection could
/// still return the old content from SQLite's cache. The driver must detect the change all the
/// same.
#[tokio::test]
async fn a_file_that_is_overwritten_in_its_place_is_found_out() {
    let (one, other) = (World::new(), World::new());
    let mut options = one.options();
    options.path = one.folder.join("other.db");
    migrate(options.clone()).await.unwrap();
    let text = other.folder.join("text");
    fs::write(&text, "no database\n".repeat(1_000)).unwrap();
    for (world, with) in [(&one, &options.path), (&other, &text)] {
        let driver = world.open().await;
        run("cp", &[with, &world.path()]);
        let is_refused = async || driver.readiness() != Readiness::Ready;
        eventually(
            "the driver must detect that the file was overwritten",
            is_refused,
        )
        .await;
        refuses(&driver, &world.path(), "overwritten").await;
        close(driver).await;
    }
}

#[tokio::test]
async fn a_transaction_that_is_open_meanwhile_is_not_confirmed() {
    let world = World::new();
    let driver = world.open().await;
    let one = envelope(1);
    let mut tx = driver.begin().await.unwrap();
    driver.claim(&mut tx, &route("a"), &[&one]).await.unwrap();
    driver
        .settle(&mut tx, &route("a"), &[done(&one)])
        .await
        .unwrap();
    fs::remove_file(world.path()).unwrap();
    let CommitError::Fault(fault) = driver.commit(tx).await.unwrap_err() else {
        panic!("the error must be a fault, and not count as a failure of the handler")
    };
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    let said = describe(&fault);
    assert!(said.contains(world.path().to_str().unwrap()), "{said}");
    close(driver).await;
}

/// All that was confirmed before the move must be in the moved file itself, and its write-ahead log
/// must be empty. When the file is moved back, the driver must refuse it until the file is opened
/// anew.
#[tokio::test]
async fn a_moved_file_is_whole_and_put_back_at_a_restart() {
    let world = World::new();
    let driver = world.open().await;
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    let elsewhere = world.folder.join("elsewhere.db");
    fs::rename(world.path(), &elsewhere).unwrap();
    let log = world.folder.join("hookbox.db-wal");
    eventually(
        "the driver must empty the write-ahead log of the moved file",
        async || fs::metadata(&log).is_ok_and(|log| log.len() == 0),
    )
    .await;
    let options = SqliteConnectOptions::new().filename(&elsewhere);
    let mut connection = options.connect().await.unwrap();
    let kept: i64 = sqlx::query_scalar("select count(*) from messages")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    assert_eq!(kept, 1);
    fs::rename(&elsewhere, world.path()).unwrap();
    refuses(&driver, &world.path(), "the file was moved back").await;
    close(driver).await;
    let driver = world.open().await;
    assert_eq!(driver.readiness(), Readiness::Ready);
    let mut subscription = driver.subscribe(&queue(), 1).await.unwrap();
    assert_eq!(drain(&mut subscription, 1..2).await, 1);
    subscription.close().await;
    close(driver).await;
    world.end().await;
}

/// The file of a spool is deleted. Its confirmed messages must still be delivered, and new ones
/// must be refused. A refused publish of a full file must not cost the driver its connection,
/// because no other one can be opened after the file was deleted.
#[tokio::test]
async fn a_file_of_one_process_is_emptied_where_no_path_leads_to_it() {
    for (subscribes_before, is_full) in [(true, false), (false, false), (true, true), (false, true)]
    {
        let world = World::new();
        let driver = world.open().await;
        driver.publish(&[route("a")], &batch([1])).await.unwrap();
        driver.publish(&[route("a")], &batch([2])).await.unwrap();
        close(driver).await;
        let driver = world
            .open_with(|options| {
                options.exclusive = true;
                // Every file is larger than this limit.
                options.bytes_max = is_full.then_some(1);
            })
            .await;
        let before = if subscribes_before {
            Some(driver.subscribe(&queue(), 1).await.unwrap())
        } else {
            None
        };
        let published = driver.publish(&[route("a")], &batch([3])).await;
        let refused = published.err().map(|error| error.kind);
        assert_eq!(refused, is_full.then_some(PublishErrorKind::Blocked));
        let messages = if is_full { 2 } else { 3 };
        fs::remove_file(world.path()).unwrap();
        refuses(&driver, &world.path(), "deleted").await;
        let mut subscription = match before {
            Some(subscription) => subscription,
            None => driver.subscribe(&queue(), 1).await.unwrap(),
        };
        let drained = drain(&mut subscription, 1..=messages).await;
        assert_eq!(drained as u64, messages);
        subscription.close().await;
        let left = driver.depths().await.unwrap();
        assert!(left.iter().all(|depth| depth.events == Some(0)), "{left:?}");
        close(driver).await;
        let log = world.folder.join("hookbox.db-wal");
        assert!(fs::metadata(log).is_ok_and(|log| log.len() == 0));
    }
}
