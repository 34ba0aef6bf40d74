//! An ingest with a spool, its local store-and-forward queue: which process owns the file, when the
//! ingest refuses to start or waits, and what becomes of a message that RabbitMQ never accepts.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::{RabbitmqServer, find};
use sqlx::Connection as _;

use crate::deployment::{Deployment, Process};
use crate::outages::own;
use crate::shown::Shown;
use crate::topology::{classic, queue_of};

/// A URL at which no broker listens.
const NOWHERE: &str = "amqp://127.0.0.1:1";

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The exit code for a check that has found problems.
const FAILED: i32 = 1;

/// The exit code for a config that cannot be used.
const CONFIG: i32 = 64;

/// The exit code for an unavailable broker.
const UNAVAILABLE: i32 = 69;

/// The exit code for an error that an operator must fix.
const REFUSED: i32 = 78;

/// Makes a deployment whose ingest has a spool, with this broker.
fn spooled(broker: &str) -> Deployment {
    let deployment = Deployment::unmigrated(own("sqlite:hookbox.db", broker, ""));
    let migrate = deployment.command(&["migrate"]).output().unwrap();
    // `migrate` migrates the store before it connects to the broker. So if no broker listens, the
    // store is migrated nevertheless, and the exit code shows that the queues could not be
    // declared.
    let is_there = broker != NOWHERE;
    let code = if is_there { 0 } else { UNAVAILABLE };
    assert_eq!(migrate.status.code(), Some(code), "{migrate:?}");
    let said = String::from_utf8(migrate.stdout).unwrap();
    assert!(said.contains("store: migrated"), "{said}");
    assert_eq!(said.contains("broker: declared queue"), is_there, "{said}");
    rewrite(
        &deployment,
        "[ingest]\n",
        "[ingest]\nspool = \"sqlite:spool.db\"\n",
    );
    deployment
}

fn rewrite(deployment: &Deployment, from: &str, to: &str) {
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let changed = config.replacen(from, to, 1);
    assert_ne!(changed, config);
    deployment.write("hookbox.toml", &changed);
}

/// Runs an ingest whose start must fail with the exit code `with`, and returns what it logged.
fn refused(deployment: &Deployment, arguments: &[&str], with: i32) -> String {
    let before = deployment.log().len();
    let code = deployment.start(arguments).ends_within(PATIENCE);
    let said = deployment.log().split_off(before);
    assert_eq!(code, Some(with), "{said}");
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_process_uses_a_spool_and_all_its_routes_are_known() {
    let deployment = spooled(NOWHERE);
    let first = deployment.start_ingest();
    deployment.run(&["send"]);
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let port = deployment.port.to_string();
    deployment.write("other.toml", &config.replacen(&port, "0", 1));
    let said = refused(&deployment, &["ingest", "--config", "other.toml"], CONFIG);
    assert!(
        said.contains("another hookbox process uses the spool"),
        "{said}"
    );
    // The operating system releases the lock of a process that dies.
    first.kill();
    let known = "name = \"scores\"";
    rewrite(&deployment, known, "name = \"points\"");
    let said = refused(&deployment, &["ingest"], CONFIG);
    assert!(
        said.contains("holds 1 events of the route scores"),
        "{said}"
    );
    rewrite(&deployment, "name = \"points\"", known);
    deployment.start_ingest().stop();
    deployment.remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_is_locked_is_waited_for_and_a_wrong_one_is_refused() {
    let deployment = spooled(NOWHERE);
    let path = deployment.folder.join("spool.db");
    let url = format!("sqlite:{}?mode=rwc", path.display());
    let mut locks = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("begin exclusive")
        .execute(&mut locks)
        .await
        .unwrap();
    let mut ingest: Process = deployment.start(&["ingest"]);
    within(PATIENCE, "ingest must wait for the spool", async || {
        assert!(!ingest.has_ended(), "{}", deployment.log());
        deployment.log().contains("waiting for the spool")
    })
    .await;
    sqlx::raw_sql("rollback").execute(&mut locks).await.unwrap();
    locks.close().await.unwrap();
    within(PATIENCE, "ingest must accept events", async || {
        deployment
            .command(&["send"])
            .output()
            .unwrap()
            .status
            .success()
    })
    .await;
    ingest.stop();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let said = refused(&deployment, &["ingest"], REFUSED);
    let named = format!("{} is a folder", path.display());
    assert!(said.contains(&named), "{said}");
    deployment.remove();
}

/// Checks `queues` and `reconcile` beside a spool that they cannot open, because its ingest is
/// older, or the file is not a database. They must show what is at the broker, and name the spool.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_cannot_be_read_is_named_and_the_broker_is_shown() {
    let rabbitmq = RabbitmqServer::start().unwrap();
    let deployment = spooled(rabbitmq.url());
    deployment.start_ingest().stop();
    let path = deployment.folder.join("spool.db");
    let url = format!("sqlite:{}", path.display());
    let mut older = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("delete from _sqlx_migrations where version > 5")
        .execute(&mut older)
        .await
        .unwrap();
    older.close().await.unwrap();
    unread(&deployment, "it has schema version 5");
    for beside in ["spool.db-wal", "spool.db-shm"] {
        let _ = std::fs::remove_file(deployment.folder.join(beside));
    }
    std::fs::write(&path, "somebody's text\n".repeat(1_000)).unwrap();
    unread(&deployment, "is not a SQLite database");
    deployment.finish().await;
}

/// Runs `queues` and `reconcile`, which must show the queue of a route at the broker, and why the
/// spool could not be read.
fn unread(deployment: &Deployment, why: &str) {
    for (command, code) in [("queues", UNAVAILABLE), ("reconcile", FAILED)] {
        let output = deployment.command(&[command]).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.contains("scores"), "{said}");
        assert!(!said.contains("problem at the broker"), "{said}");
        let named = format!("spool {}", deployment.folder.join("spool.db").display());
        let problem = said
            .lines()
            .find(|it| it.starts_with("problem at the spool"));
        let problem = problem.unwrap_or_else(|| panic!("{said}"));
        assert!(problem.contains(&named), "{problem}");
        assert!(problem.contains(why), "{problem}");
        assert!(!problem.contains("hookbox migrate"), "{problem}");
    }
}

/// Checks an event that RabbitMQ can never accept, because it is larger than RabbitMQ's limit. It
/// was answered 200, so the spool must keep and report it, and must forward the events behind it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_rabbitmq_never_takes_delays_no_other() {
    let less = "max_message_size = 65536\n";
    let rabbitmq = RabbitmqServer::start_found(&find::rabbitmq().unwrap(), less).unwrap();
    let deployment = spooled(rabbitmq.url());
    let shown = Shown::new();
    let ingest =
        deployment.spawn_ingest(deployment.command(&["ingest", "--metrics", &shown.address()]));
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    let event = r#"{"uid":"u","integration_id":"1","event":{"type":
        "psychometric_score.complete"}}"#;
    deployment.write("large.json", &format!("{event}{}", " ".repeat(100_000)));
    deployment.run(&["send", "--file", "large.json"]);
    let refused = "hookbox_spool_refused_events";
    within(
        PATIENCE,
        "the metrics must count the refused event, and other events must be forwarded",
        async || {
            deployment.run(&["send"]);
            shown.metric(refused) == Some(1.0)
        },
    )
    .await;
    assert!(shown.trouble("spool").is_some());
    // With nothing else left in the spool, later events must go to the broker directly.
    within(
        PATIENCE,
        "no event may go to the spool any more",
        async || {
            let kept = shown.metric("hookbox_spool_kept_total");
            deployment.run(&["send"]);
            shown.metric("hookbox_spool_kept_total") == kept
        },
    )
    .await;
    deployment.logged("the broker refuses 1 events of route scores");
    assert_eq!(shown.metric("hookbox_spool_events"), Some(1.0));
    ingest.stop();
    deployment.finish().await;
}

/// Checks an ingest with a spool that starts while another queue has the name of one of hookbox's
/// queues: a classic queue that hookbox did not declare. The spool must keep the events, and
/// forwarding must start by itself when hookbox's own queue exists again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_in_the_way_at_the_start_is_waited_for() {
    let rabbitmq = RabbitmqServer::start().unwrap();
    let deployment = spooled(rabbitmq.url());
    let victim = queue_of(&rabbitmq, "scores").unwrap();
    rabbitmq.ctl(&["delete_queue", &victim]).unwrap();
    classic(&rabbitmq, &victim).await;
    let shown = Shown::new();
    let ingest = deployment.start(&["ingest", "--metrics", &shown.address()]);
    within(
        PATIENCE,
        "RabbitMQ's error about the classic queue must be logged",
        async || deployment.log().contains("PRECONDITION_FAILED"),
    )
    .await;
    within(PATIENCE, "the spool must keep an event", async || {
        let sent = deployment.command(&["send"]).output().unwrap();
        sent.status.success() && shown.metric("hookbox_spool_events") >= Some(1.0)
    })
    .await;
    rabbitmq.ctl(&["delete_queue", &victim]).unwrap();
    within(
        PATIENCE,
        "readiness must report that hookbox's queue is missing",
        async || {
            let why = shown.trouble("broker");
            why.is_some_and(|why| why.contains("is missing"))
        },
    )
    .await;
    deployment.run(&["queues", "declare", "--yes"]);
    within(PATIENCE, "the spool must forward its events", async || {
        shown.metric("hookbox_spool_events") == Some(0.0)
    })
    .await;
    ingest.stop();
    deployment.finish().await;
}
