//! Tests of the driver on real files. Each test has a folder of its own. At its end a test checks
//! that every connection is closed (then SQLite has removed its write-ahead log) and that the
//! folder is gone.

#![allow(clippy::unwrap_used)]

mod broken;
mod broker;
mod closing;
mod displaced;
mod dropped;
mod ends;
mod foreign;
mod giving_up;
mod leases;
mod ledger;
mod log;
mod numbering;
mod open;
mod processes;
mod readers;
mod retries;
mod schema;
mod store;
mod transactions;
mod turns;

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use hookbox_driver::{
    Batch, Broker, Claimed, Delivery, DueRetry, Failure, FailureClass, Outcome, ReceiptOutcome,
    Recorded, Republish, Store, Subscription, Then,
};
use hookbox_event::{
    ContentDigest, Digester, Envelope, EventId, InstanceId, ReceiptId, RouteName, Scalar,
    SourceName, Timestamp, decode_batch,
};
use hookbox_testkit::eventually::eventually;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::time::{Instant, timeout};

use crate::{Options, Sqlite, migrate};

/// The time limit for every wait of these tests. No wait takes this long, even on a busy machine,
/// unless something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);

/// The folder of one test, with one SQLite file.
struct World {
    folder: PathBuf,
}

impl World {
    fn new() -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        let folder = std::env::temp_dir().join(format!("hookbox-sqlite-{random:016x}"));
        std::fs::create_dir(&folder).unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("hookbox.db")
    }

    fn options(&self) -> Options {
        options(&self.path())
    }

    /// Migrates the file and opens it.
    async fn open(&self) -> Sqlite {
        migrate(self.options()).await.unwrap();
        Sqlite::open(self.options()).await.unwrap()
    }

    async fn open_with(&self, change: impl FnOnce(&mut Options)) -> Sqlite {
        let mut options = self.options();
        change(&mut options);
        migrate(options.clone()).await.unwrap();
        Sqlite::open(options).await.unwrap()
    }

    /// Opens a connection that the driver does not know, by which a test reads and changes the
    /// file.
    async fn meddle(&self) -> SqliteConnection {
        SqliteConnectOptions::new()
            .filename(self.path())
            .foreign_keys(false)
            .connect()
            .await
            .unwrap()
    }

    /// Returns the number that a query reads from the file, over a connection outside the driver.
    async fn number(&self, question: &'static str) -> i64 {
        let mut connection = self.meddle().await;
        let number = sqlx::query_scalar(question)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        number
    }

    /// Runs a statement over a connection outside the driver.
    async fn execute(&self, statement: &'static str) {
        let mut connection = self.meddle().await;
        sqlx::raw_sql(statement)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    /// Opens a connection and closes it. An error does not matter, because a test may have left a
    /// file that cannot be read.
    async fn open_and_close(&self) {
        let options = SqliteConnectOptions::new().filename(self.path());
        if let Ok(mut connection) = options.connect().await {
            let _ = sqlx::query("select 1 from sqlite_schema")
                .execute(&mut connection)
                .await;
            let _ = connection.close().await;
        }
    }

    /// Takes the write lock and keeps it, as another process that is stuck would do.
    async fn lock(&self) -> SqliteConnection {
        let mut connection = self.meddle().await;
        sqlx::raw_sql("begin immediate")
            .execute(&mut connection)
            .await
            .unwrap();
        connection
    }

    /// Checks that no connection to the file is open, and removes the folder.
    async fn end(self) {
        let log = self.folder.join("hookbox.db-wal");
        let closed = async || {
            // SQLite removes the write-ahead log when the last connection closes. If two
            // connections close at the same moment, neither of them counts as the last. So one more
            // connection is opened and closed.
            if log.exists() {
                self.open_and_close().await;
            }
            !log.exists()
        };
        eventually(
            "every connection to the file must be closed at the end",
            closed,
        )
        .await;
        std::fs::remove_dir_all(&self.folder).unwrap();
        assert!(!self.folder.exists());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // After a failed test the folder still exists and is removed here.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn options(path: &Path) -> Options {
    let mut options = Options::new(path, "test".parse().unwrap(), vec![route("a"), route("b")]);
    // The time limits of the tests are longer than a sync on a slow disk, so that a slow disk does
    // not fail the tests.
    options.busy_timeout = Duration::from_secs(3);
    options.writer_wait = Duration::from_secs(5);
    options.lease = Duration::from_secs(3);
    options.poll = Duration::from_millis(10);
    options
}

/// Shortens the time for which a call waits while another process holds the lock.
fn impatient(options: &mut Options) {
    options.busy_timeout = Duration::from_millis(300);
}

fn route(name: &str) -> RouteName {
    name.parse().unwrap()
}

/// Returns the first receipt of the `n`th event.
fn envelope(n: u64) -> Envelope {
    another_receipt(n, 0)
}

/// Returns a receipt of the `n`th event that differs from its other receipts only by its ids.
fn another_receipt(n: u64, receipt: u8) -> Envelope {
    let source: SourceName = "begini".parse().unwrap();
    let body = format!("{{\"n\":{n}}}");
    let mut random = [receipt; 10];
    random[..8].copy_from_slice(&n.to_be_bytes());
    let received_at = Timestamp::from_unix_micros(1_764_000_000_000_000 + n as i64 * 1_000);
    Envelope {
        receipt: ReceiptId::new(received_at, random),
        topic: "begini.score.complete".parse().unwrap(),
        event: EventId::from_fields(&Digester::Plain, &source, &[Scalar::Number(n.to_string())]),
        id_tail: None,
        digest: ContentDigest::of_canonical_json(&Digester::Plain, body.as_bytes()),
        received_at,
        key_id: "2026-11".to_owned(),
        instance: InstanceId::from_bytes([7; 16]),
        number: n + 1_000_000 * u64::from(receipt),
        seal: None,
        traceparent: None,
        redo: None,
        body: body.into(),
        source,
    }
}

/// Returns a receipt with the id of the `n`th event and with another body.
fn contradicting(n: u64) -> Envelope {
    let mut envelope = another_receipt(n, 99);
    envelope.body = "{\"n\":\"other\"}".into();
    envelope.digest = ContentDigest::of_canonical_json(&Digester::Plain, &envelope.body);
    envelope
}

fn batch(numbers: impl IntoIterator<Item = u64>) -> Batch {
    let envelopes: Vec<Envelope> = numbers.into_iter().map(envelope).collect();
    Batch::of(&envelopes).unwrap()
}

/// Returns the sequence numbers of the envelopes in a delivery. In these tests, they are the
/// numbers of the events.
fn numbers(delivery: &Delivery) -> Vec<u64> {
    decode_batch(&delivery.bytes)
        .unwrap()
        .into_iter()
        .map(|frame| frame.unwrap().number)
        .collect()
}

/// Waits a bounded time for the next delivery.
async fn next(subscription: &mut Box<dyn Subscription>) -> Delivery {
    timeout(PATIENCE, subscription.next())
        .await
        .unwrap()
        .unwrap()
}

/// Receives and acknowledges messages until each of these events has arrived. Returns the number of
/// messages.
async fn drain(
    subscription: &mut Box<dyn Subscription>,
    wanted: impl Iterator<Item = u64>,
) -> usize {
    let mut missing: HashSet<u64> = wanted.collect();
    let mut messages = 0;
    while !missing.is_empty() {
        let delivery = next(subscription).await;
        for number in numbers(&delivery) {
            missing.remove(&number);
        }
        delivery.ack().await.unwrap();
        messages += 1;
    }
    messages
}

/// Claims events, settles them as done and commits. Returns the results of the claims.
async fn process(store: &Sqlite, on: &str, envelopes: &[&Envelope]) -> Vec<Claimed> {
    let route = route(on);
    let mut tx = store.begin().await.unwrap();
    let claimed = store.claim(&mut tx, &route, envelopes).await.unwrap();
    let settled: Vec<ReceiptOutcome<'_>> = envelopes
        .iter()
        .zip(&claimed)
        .filter_map(|(envelope, claimed)| {
            let outcome = match claimed {
                Claimed::Fresh => Outcome::Done { attempt: 1 },
                Claimed::Granted { attempt, .. } => Outcome::Done { attempt: *attempt },
                Claimed::Duplicate => Outcome::Duplicate,
                Claimed::Redelivered | Claimed::Conflict | Claimed::Orphaned => return None,
            };
            Some(ReceiptOutcome {
                envelope,
                outcome,
                other_digest: None,
            })
        })
        .collect();
    store.settle(&mut tx, &route, &settled).await.unwrap();
    store.commit(tx).await.unwrap();
    claimed
}

/// Returns what claiming this envelope would return now. The claim is rolled back.
async fn would_claim(store: &Sqlite, on: &str, envelope: &Envelope) -> Claimed {
    let mut tx = store.begin().await.unwrap();
    let claimed = store.claim(&mut tx, &route(on), &[envelope]).await.unwrap();
    store.rollback(tx).await;
    claimed[0]
}

/// Records a failed attempt of the event on route `a`.
async fn fail(store: &Sqlite, envelope: &Envelope, attempt: u32, then: Then) -> Recorded {
    let failure = Failure {
        route: &route("a"),
        envelope,
        attempt,
        attempts_before: 0,
        other_digest: None,
        class: FailureClass::Transient,
        error: format!("attempt {attempt} went wrong\nwith details"),
        took: Duration::from_millis(12),
        then,
        is_expired_deferral: false,
    };
    store.fail(&failure).await.unwrap()
}

/// A `Republish` that reports every retry as confirmed without publishing it, and records it.
#[derive(Default)]
struct Confirming(std::sync::Mutex<Vec<DueRetry>>);

#[async_trait]
impl Republish for Confirming {
    async fn republish(&self, due: &[&DueRetry]) -> Vec<bool> {
        let mut taken = self.0.lock().unwrap();
        taken.extend(due.iter().map(|&due| due.clone()));
        vec![true; due.len()]
    }
}

/// Returns the retries that are due. They are marked as queued, but not published.
async fn requeue(store: &Sqlite) -> Vec<DueRetry> {
    let confirming = Confirming::default();
    store.requeue_due(100, &confirming).await.unwrap();
    confirming.0.into_inner().unwrap()
}

/// Closes the driver as a process that ends in an orderly way does.
async fn close(driver: Sqlite) {
    Broker::close(&driver).await;
}

/// The statement that creates the table to which the handlers of these tests write.
const MAKE_EFFECTS: &str = "create table if not exists effects (n integer primary key) strict";

/// Writes one row in the transaction, as a handler does.
async fn effect(store: &Sqlite, tx: &mut crate::Tx, n: i64) -> sqlx::Result<()> {
    sqlx::query("insert into effects (n) values (?1)")
        .bind(n)
        .execute(store.connection(tx))
        .await
        .map(|_| ())
}

fn done(envelope: &Envelope) -> ReceiptOutcome<'_> {
    ReceiptOutcome {
        envelope,
        outcome: Outcome::Done { attempt: 1 },
        other_digest: None,
    }
}
