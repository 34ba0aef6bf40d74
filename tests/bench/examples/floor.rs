//! Measures how many operations per second PostgreSQL, RabbitMQ and SQLite reach on this machine
//! without hookbox, with one connection each. `cargo xtask bench` compares the rates of hookbox
//! with these rates.
//!
//! `DATABASE_URL` and `AMQP_URL` name the servers, and the only argument names a folder for a
//! SQLite file. The program prints one line of JSON with the best of several measurements of each
//! server. It removes the tables, queues and files that it made.

use std::collections::VecDeque;
use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection as Amqp, ConnectionProperties,
    PublisherConfirm,
};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

/// The size of one message: about one event of Begini with its envelope.
const BODY_BYTES: usize = 600;

/// The highest number of rows in one transaction. It is the same as the highest number of events
/// that an ingest puts into one message, which a worker processes in one transaction.
const BATCH: i32 = 64;

/// The highest number of publishes that wait for their confirm at the same time.
const IN_FLIGHT: usize = 64;

/// How long one measurement lasts. This is long enough to average out a pause of the disk, and
/// short enough that all measurements together take less than a minute.
const LASTS: Duration = Duration::from_secs(2);

/// The number of measurements of each server. The best one counts, because other work on the
/// machine can make a single measurement far too low.
const ROUNDS: usize = 4;

/// How long connections, caches and files warm up before a measurement.
const WARM_UP: Duration = Duration::from_millis(500);

const QUEUE: &str = "hookbox.floor";

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let folder = std::env::args().nth(1).ok_or("name a folder")?;
    let amqp_url = std::env::var("AMQP_URL")?;
    let postgres_url = std::env::var("DATABASE_URL")?;
    let (mut best, mut version) = ([0.0_f64; 4], String::new());
    // The servers are measured in turn, so that a disturbance affects only one measurement of each.
    for _ in 0..ROUNDS {
        let (commits, of_sqlite) = sqlite(Path::new(&folder)).await?;
        let rates = [
            publishes(&amqp_url).await?,
            postgres(&postgres_url, 1).await?,
            postgres(&postgres_url, BATCH).await?,
            commits,
        ];
        for (best, rate) in best.iter_mut().zip(rates) {
            *best = best.max(rate);
        }
        version = of_sqlite;
    }
    let [publishes, inserts, batched, commits] = best;
    println!(
        "{{\"amqp_publishes\": {publishes:.1}, \"postgres_inserts\": {inserts:.1}, \
         \"postgres_batched_inserts\": {batched:.1}, \"sqlite_commits\": {commits:.1}, \
         \"sqlite_version\": \"{version}\"}}"
    );
    Ok(())
}

/// Counts operations per second, after a warm-up that is not counted.
struct Meter {
    warm: Instant,
    began: Option<Instant>,
    count: u64,
}

impl Meter {
    fn new() -> Self {
        Meter {
            warm: Instant::now() + WARM_UP,
            began: None,
            count: 0,
        }
    }

    /// Counts one operation, and returns whether the measurement must continue.
    fn more(&mut self) -> bool {
        let now = Instant::now();
        match self.began {
            None if now < self.warm => true,
            None => {
                self.began = Some(now);
                true
            }
            Some(began) => {
                self.count += 1;
                now - began < LASTS
            }
        }
    }

    fn rate(&self) -> f64 {
        let seconds = self
            .began
            .map_or(0.0, |began| began.elapsed().as_secs_f64());
        self.count as f64 / seconds.max(f64::MIN_POSITIVE)
    }
}

/// Measures confirmed publishes per second to a quorum queue, on one channel with one event per
/// message.
async fn publishes(url: &str) -> Outcome<f64> {
    let connection = Amqp::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let confirms = ConfirmSelectOptions::default();
    channel.confirm_select(confirms).await?;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    let quorum = AMQPValue::LongString("quorum".into());
    arguments.insert("x-queue-type".into(), quorum);
    channel
        .queue_declare(QUEUE.into(), options, arguments)
        .await?;
    let rate = publish(&channel).await;
    let options = QueueDeleteOptions::default();
    channel.queue_delete(QUEUE.into(), options).await?;
    connection.close(200, "done".into()).await?;
    rate
}

async fn publish(channel: &Channel) -> Outcome<f64> {
    let body = [b'x'; BODY_BYTES];
    let mut waiting: VecDeque<PublisherConfirm> = VecDeque::new();
    let mut meter = Meter::new();
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    loop {
        let persistent = BasicProperties::default().with_delivery_mode(2);
        let sent = channel
            .basic_publish("".into(), QUEUE.into(), options, &body, persistent)
            .await?;
        waiting.push_back(sent);
        if waiting.len() < IN_FLIGHT {
            continue;
        }
        if let Some(first) = waiting.pop_front() {
            confirmed(first).await?;
        }
        if !meter.more() {
            break;
        }
    }
    let rate = meter.rate();
    for left in waiting {
        confirmed(left).await?;
    }
    Ok(rate)
}

async fn confirmed(confirm: PublisherConfirm) -> Outcome<()> {
    match confirm.await? {
        Confirmation::Ack(None) => Ok(()),
        Confirmation::Ack(Some(_)) | Confirmation::Nack(_) | Confirmation::NotRequested => {
            Err("a publish was not confirmed".into())
        }
    }
}

/// Measures inserted rows per second in PostgreSQL, on one connection with `rows` rows per commit.
async fn postgres(url: &str, rows: i32) -> Outcome<f64> {
    let mut connection = PgConnection::connect(url).await?;
    let table = "create table hookbox_floor \
                 (id bigint generated always as identity primary key, body bytea not null)";
    sqlx::query(table).execute(&mut connection).await?;
    let body = [b'x'; BODY_BYTES];
    let mut meter = Meter::new();
    let filled = loop {
        // Without an explicit transaction, each statement is committed by itself.
        let insert = sqlx::query(
            "insert into hookbox_floor (body) select $1::bytea from generate_series(1, $2)",
        );
        let insert = insert.bind(&body[..]).bind(rows);
        if let Err(error) = insert.execute(&mut connection).await {
            break Err(error);
        }
        if !meter.more() {
            break Ok(());
        }
    };
    let rate = meter.rate() * f64::from(rows);
    sqlx::query("drop table hookbox_floor")
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    filled?;
    Ok(rate)
}

/// Measures commits per second in a SQLite file, each of one row and synced to disk. Also returns
/// the version of SQLite.
async fn sqlite(folder: &Path) -> Outcome<(f64, String)> {
    let mut connection = SqliteConnectOptions::new()
        .filename(folder.join("floor.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await?;
    let version: String = sqlx::query_scalar("select sqlite_version()")
        .fetch_one(&mut connection)
        .await?;
    sqlx::query("create table floor (id integer primary key, body blob not null) strict")
        .execute(&mut connection)
        .await?;
    let body = [b'x'; BODY_BYTES];
    let mut meter = Meter::new();
    loop {
        sqlx::query("insert into floor (body) values (?)")
            .bind(&body[..])
            .execute(&mut connection)
            .await?;
        if !meter.more() {
            break;
        }
    }
    let rate = meter.rate();
    connection.close().await?;
    for name in ["floor.db", "floor.db-wal", "floor.db-shm"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
    Ok((rate, version))
}
