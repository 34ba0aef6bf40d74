//! The disk of a SQLite file fills up, because an open reader prevents the checkpoint that writes
//! the write-ahead log back into the file. Events are refused, and ingest and worker report the
//! full disk and are not ready. When the reader ends, writing resumes by itself.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use hookbox_testkit::eventually::within;
use hookbox_tests::small_disk::SmallDisk;
use sqlx::{Connection, SqliteConnection};

use crate::deployment::Deployment;
use crate::outages::own;
use crate::rounds::Rounds;
use crate::shown::{Shown, get};

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long it may take until writing resumes when there is free space. Each part of hookbox tries
/// again within seconds.
const RESUMES: Duration = Duration::from_secs(30);

const DISK_MIB: u32 = 40;

/// The number of events that are sent between two checks of the disk (one round).
const ROUND: u64 = 300;

/// The most rounds of events before the test fails. The events of all these rounds would fill the
/// disk several times over.
const ROUNDS_MAX: u64 = 200;

/// The largest number of log lines (warnings and errors) about one full disk. There are two
/// processes and three routes, and each part of them that notices the full disk may log it once. No
/// line may be logged for each event.
const LINES_MAX: usize = 12;

/// The time for which requests that were answered with status 503 are logged together. The first
/// request has a line of its own, and one line at the end of this time has the number of the other
/// requests.
const WINDOW: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_fills_the_disk_is_written_back_when_its_reader_ends() {
    let Some(disk) = SmallDisk::new(DISK_MIB) else {
        return;
    };
    let file = disk.folder().join("hookbox.db");
    let url = format!("sqlite:{}", file.display());
    let deployment = Deployment::over(own(&url, &url, ""));
    let (at_ingest, at_worker) = (Shown::new(), Shown::new());
    let ingest = deployment.start(&["ingest", "--metrics", &at_ingest.address()]);
    let worker = deployment.start(&["worker", "--metrics", &at_worker.address()]);
    within(PATIENCE, "hookbox must be ready", async || {
        at_ingest.is_ready() && at_worker.is_ready()
    })
    .await;
    let mut rounds = Rounds::new(&deployment, ROUND, &[]);
    assert_eq!(rounds.send(), ROUND);

    let mut reader = SqliteConnection::connect(&url).await.unwrap();
    let old_snapshot = "begin; select count(*) from receipts";
    sqlx::raw_sql(old_snapshot)
        .execute(&mut reader)
        .await
        .unwrap();
    let mut began = Instant::now();
    while rounds.send() == ROUND {
        assert!(rounds.sent() < ROUNDS_MAX, "the disk must be full");
        began = Instant::now();
    }
    let names_it = |why: Option<String>| {
        let of = format!("the disk of {} is full", file.display());
        why.is_some_and(|why| why.contains(&of))
    };
    within(
        PATIENCE,
        "readiness of ingest and worker must name the full disk",
        async || names_it(at_ingest.trouble("broker")) && names_it(at_worker.trouble("store")),
    )
    .await;
    let (public, _) = get(deployment.port, "/readyz").unwrap();
    assert_eq!(public, 503);
    // Refused requests use no disk space and free none, so all further requests must be refused
    // too.
    for _ in 0..5 {
        assert_eq!(rounds.send(), 0, "{}", deployment.log());
    }

    reader.close().await.unwrap();
    let start = Instant::now();
    within(RESUMES, "writing must resume", async || {
        at_ingest.is_ready() && at_worker.is_ready()
    })
    .await;
    let took = start.elapsed();
    let (rounds_full, outage) = (rounds.sent(), began.elapsed());
    eprintln!(
        "the disk was full after {rounds_full} rounds; writing resumed {took:?} after the reader's \
         end"
    );
    assert_eq!(rounds.send(), ROUND, "{}", deployment.log());

    let accepted = rounds.accepted();
    // The ingest publishes its last accept report when it stops. Until then `reconcile` may not
    // know the latest receipts.
    ingest.stop();
    let books = deployment.json(&["reconcile", "--wait", "120s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    all_are_done(&url, &accepted).await;
    worker.stop();
    few_lines(&deployment, outage);
    deployment.remove();
}

/// Checks that every one of these receipts has its effect, and that no attempt was used up.
async fn all_are_done(url: &str, accepted: &[String]) {
    let mut store = SqliteConnection::connect(url).await.unwrap();
    let done = "select lower(hex(receipt_id)) from receipts where outcome = 'done'";
    let done: Vec<String> = sqlx::query_scalar(done)
        .fetch_all(&mut store)
        .await
        .unwrap();
    let done: HashSet<String> = done.into_iter().collect();
    let digits = accepted.iter().map(|receipt| receipt.replace('-', ""));
    let lost = digits.filter(|receipt| !done.contains(receipt));
    assert_eq!(lost.count(), 0, "of {} accepted", accepted.len());
    let spent = "select (select count(*) from attempts) + (select count(*) from dead_letters)";
    let spent: i64 = sqlx::query_scalar(spent)
        .fetch_one(&mut store)
        .await
        .unwrap();
    assert_eq!(spent, 0);
    store.close().await.unwrap();
}

/// Checks how much is logged: each process logs the start and the end of the outage once. Requests
/// that were answered with status 503 have at most two lines per minute.
fn few_lines(deployment: &Deployment, outage: Duration) {
    let log = deployment.log();
    let has = |words: &str| log.lines().filter(|line| line.contains(words)).count();
    for words in [" is full: no event is accepted", " has room again"] {
        let lines = has(words);
        assert!((1..=2).contains(&lines), "{words}: {lines}: {log}");
    }
    // The log counts requests per [`WINDOW`]. An outage may begin and end in the middle of a
    // window, so it may touch one window more than fit into its duration.
    let windows = outage.as_secs().div_ceil(WINDOW.as_secs()) + 1;
    let failed = has("answered 503");
    let allowed = 1..=usize::try_from(2 * windows).unwrap();
    assert!(
        allowed.contains(&failed),
        "{allowed:?} lines about answers 503 may be logged in an outage of {outage:?}, not \
         {failed}: {log}"
    );
    let lines = has(" WARN ") + has(" ERROR ") - failed;
    assert!(
        lines <= LINES_MAX,
        "at most {LINES_MAX} other warnings and errors may be logged in an outage of {outage:?}, \
         not {lines}: {log}"
    );
    assert!(!log.contains("a panic at"), "{log}");
}
