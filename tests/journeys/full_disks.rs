//! A full disk: of PostgreSQL's tables, of its write-ahead log, or of RabbitMQ. Requests that
//! cannot be stored are answered 503, accepted events are not lost, and processing resumes as soon
//! as there is free space.

use std::cell::RefCell;
use std::process::Stdio;
use std::time::Duration;

use hookbox_testkit::eventually::{promised, within};
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer, find};
use hookbox_tests::random_name;
use hookbox_tests::small_disk::SmallDisk;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::deployment::Deployment;
use crate::outages::{World, own};
use crate::shown::Shown;
use crate::topology::queue_of;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The time within which the full disk must be reported: twice the deadline of a confirm, which is
/// 2.5 s.
const TWO_DEADLINES: Duration = Duration::from_secs(5);

/// The size of the disk of a server with little data. The server's own files take half of it.
const DISK_MIB: u32 = 96;

/// How often the test runs at most. RabbitMQ may damage a queue when its disk is full (H17). This
/// is not hookbox's fault, so the test then runs again.
const TRIES: u32 = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_postgres_costs_nothing() {
    let Some(disk) = SmallDisk::new(48) else {
        return;
    };
    let postgres = PostgresServer::start().unwrap();
    let url = database_on(&postgres, &disk).await;
    let world = World::over(&url, &url);
    // PostgreSQL can still be read from a full disk, so the check of the store succeeds. Readiness
    // must name the route, because its handlers cannot write.
    world
        .outage("route scores", async || disk.fill(), async || disk.free())
        .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_postgress_log_costs_nothing() {
    let Some(disk) = SmallDisk::new(DISK_MIB) else {
        return;
    };
    let mut postgres = PostgresServer::start().unwrap();
    postgres.kill().unwrap();
    disk.takes_over(&postgres.folder().join("data/pg_wal"));
    postgres.restart().unwrap();
    let url = postgres.url().to_owned();
    let world = World::over(&url, &url);
    let postgres = RefCell::new(&mut postgres);
    let fill = async || {
        disk.fill();
        // The statement makes PostgreSQL start the next file of its write-ahead log. The file does
        // not fit on the full disk, so PostgreSQL stops.
        let mut connection = PgConnection::connect(&url).await.unwrap();
        let _ = sqlx::query("select pg_switch_wal()")
            .execute(&mut connection)
            .await;
    };
    let heal = async || {
        disk.free();
        postgres.borrow_mut().restart().unwrap();
    };
    world.outage("store", fill, heal).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_of_rabbitmq_is_answered_503_and_loses_nothing() {
    for _ in 0..TRIES {
        let Some(disk) = SmallDisk::new(DISK_MIB) else {
            return;
        };
        if fill_rabbitmq(&disk).await == Queues::Whole {
            return;
        }
        eprintln!("RabbitMQ has damaged one of its queues (H17): the test runs again");
    }
    panic!("RabbitMQ has damaged one of its queues (H17) {TRIES} times in a row");
}

/// Whether RabbitMQ has damaged one of its queues when its disk was full.
#[derive(PartialEq, Eq)]
enum Queues {
    Whole,
    /// RabbitMQ has emptied the file that describes a queue and cannot start that queue again, or
    /// it has lost a queue entirely (H17).
    Damaged,
}

async fn fill_rabbitmq(disk: &SmallDisk) -> Queues {
    const EVENTS: u64 = 3_000;
    // RabbitMQ's alarm for a disk with little space would block publishers before the disk is full.
    // The alarm is tested in `alarm.rs`, and switched off here.
    let settings = "disk_free_limit.absolute = 1KB\n";
    let mut rabbitmq = RabbitmqServer::start_found(&find::rabbitmq().unwrap(), settings).unwrap();
    rabbitmq.kill().unwrap();
    disk.takes_over(&rabbitmq.folder().join("mnesia"));
    rabbitmq.restart().unwrap();
    let postgres = PostgresServer::start().unwrap();
    let deployment = Deployment::over(own(postgres.url(), rabbitmq.url(), postgres.url()));
    let shown = Shown::new();
    let running = deployment.start(&["run", "--metrics", &shown.address()]);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    let count = EVENTS.to_string();
    let mut load = deployment
        .command(&["generate", "--json", "--seed", "3", "--count", &count])
        .args(["--rate", "300", "--retries", "100"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let requests =
        |outcome| shown.metric(&format!("hookbox_requests_total{{outcome={outcome:?}}}"));
    within(PATIENCE, "hookbox must accept 300 requests", async || {
        requests("accepted").is_some_and(|count| count >= 300.0)
    })
    .await;
    disk.fill();
    within(PATIENCE, "a request must be answered 503", async || {
        requests("not_durable").is_some_and(|count| count >= 1.0)
    })
    .await;
    let took = promised(
        TWO_DEADLINES,
        "readiness must show the broker as unavailable",
        async || shown.metric("hookbox_broker_up") == Some(0.0),
    )
    .await;
    eprintln!("the broker was shown as unavailable {took:?} after the first 503");
    disk.free();
    // A quorum queue that could not write to its log stays down until the broker is restarted.
    rabbitmq.restart().unwrap();
    let log = std::fs::read_to_string(rabbitmq.folder().join("log/broker.log")).unwrap();
    if log.contains("could not be restarted") || queue_of(&rabbitmq, "scores").is_none() {
        load.kill().unwrap();
        load.wait().unwrap();
        running.kill();
        drop((rabbitmq, postgres));
        deployment.remove();
        return Queues::Damaged;
    }
    let output = tokio::task::spawn_blocking(|| load.wait_with_output()).await;
    let tally: Value = serde_json::from_slice(&output.unwrap().unwrap().stdout).unwrap();
    assert_eq!(tally["undelivered"], 0, "{tally:#}");
    let done = "select count(*) from claims where state = 'done'";
    within(PATIENCE, "every event must be done", async || {
        deployment.count(done).await == EVENTS
    })
    .await;
    assert_eq!(deployment.count("select count(*) from attempts").await, 0);
    assert_eq!(
        deployment.count("select count(*) from dead_letters").await,
        0
    );
    running.stop();
    drop((rabbitmq, postgres));
    deployment.remove();
    Queues::Whole
}

/// Makes a database on this server and puts its tables, but not the write-ahead log of the server,
/// on `disk`.
async fn database_on(server: &PostgresServer, disk: &SmallDisk) -> String {
    let mut connection = PgConnection::connect(server.url()).await.unwrap();
    let name = random_name("small").replace('-', "_");
    disk.belongs_with(&server.folder().join("data"));
    let folder = disk.folder().display();
    for statement in [
        format!("create tablespace {name} location '{folder}'"),
        format!("create database {name} tablespace {name}"),
    ] {
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .unwrap();
    }
    connection.close().await.unwrap();
    let (before, _) = server.url().rsplit_once('/').unwrap();
    format!("{before}/{name}")
}
