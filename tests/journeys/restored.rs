//! A database is restored from an older copy, and the broker keeps its state. Events that were
//! accepted after the copy are acknowledged and lost, and the restored database has no trace of
//! them. The witness messages must show the loss: they are the broker's record of how much the
//! store knew at which time. Another test checks a gap in the accept reports that is too young to
//! count as a loss. `reconcile` must report it as unknown.

use std::time::Duration;

use hookbox_driver_postgres::testing::{Database, SERVER_URL};
use hookbox_testkit::eventually::within;
use hookbox_tests::variable;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::deployment::{Deployment, Own, Pair, Process};
use crate::shown::Shown;

/// The number of events that are sent before the copy.
const KEPT: u64 = 12;

/// The number of events that are sent between the copy and the restore.
const LOST: u64 = 600;

/// The number of events that are sent after the restore.
const LATER: u64 = 50;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

/// A deployment whose database can be restored.
struct World {
    deployment: Deployment,
    database: Database,
    shown: Shown,
}

impl World {
    async fn new() -> Self {
        let database = Database::create_for_migrate().await.unwrap();
        let url = database.url().to_owned();
        let own = Own {
            store: url.clone(),
            broker: variable("HOOKBOX_TEST_AMQP_URL"),
            direct: url,
            settings: String::new(),
        };
        let deployment = Deployment::over(own);
        Self {
            deployment,
            database,
            shown: Shown::new(),
        }
    }

    fn start_worker(&self) -> Process {
        let address = self.shown.address();
        self.deployment.start(&["worker", "--metrics", &address])
    }

    fn generate(&self, count: u64, seed: u64) {
        let (count, seed) = (count.to_string(), seed.to_string());
        let words = ["generate", "--count", &count, "--seed", &seed];
        self.deployment.run(&words);
    }

    /// Runs `reconcile`, and returns its exit code, JSON and text.
    fn reconcile(&self, more: &[&str]) -> (Option<i32>, Value, String) {
        let words = [&["reconcile"], more].concat();
        let output = self.deployment.command(&words).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), self.deployment.json(&words), text)
    }

    /// Waits until this many receipts are reported and done, and until a witness message at the
    /// broker covers them: a message in which the store records how much it knows.
    async fn all_is_reported(&self, receipts: u64) {
        within(
            PATIENCE,
            "all receipts must be reported and have an outcome",
            async || {
                let (code, books, _) = self.reconcile(&["--wait", "30s"]);
                code == Some(0) && reported(&books) == receipts
            },
        )
        .await;
        // This query counts the rows of the witness table whose newest witness message is missing,
        // is not confirmed by the broker, or covers fewer receipts than the recorded accept
        // reports.
        let waits = "select count(*) from witness, incarnations where newest is null \
                     or confirmed < (substring(convert_from(substring(newest from 6), 'UTF8') \
                                     from '\"sequence\":([0-9]+)'))::bigint \
                     or (substring(convert_from(substring(newest from 6), 'UTF8') \
                         from '\"receipts\":([0-9]+)'))::bigint \
                        < (select sum(receipts) from accepted)";
        within(
            PATIENCE,
            "the broker must confirm the newest witness message",
            async || self.deployment.count(waits).await == 0,
        )
        .await;
    }

    /// Copies the database. PostgreSQL refuses to copy a database while a client is connected to
    /// it.
    async fn copy(&self) -> Database {
        let server = variable(SERVER_URL);
        let copy = Database::create_at(&server, Some(self.database.name())).await;
        copy.unwrap()
    }

    /// Ends all connections to the database, and replaces the database by its copy.
    async fn restore(&self, copy: &Database) {
        let mut server = PgConnection::connect(&variable(SERVER_URL)).await.unwrap();
        let (name, copy) = (self.database.name(), copy.name());
        for statement in [
            format!("drop database {name} with (force)"),
            format!("create database {name} template {copy}"),
        ] {
            let statement = sqlx::query(AssertSqlSafe(statement));
            statement.execute(&mut server).await.unwrap();
        }
        server.close().await.unwrap();
    }

    /// Waits until the worker has recorded the last accept report of the ingest.
    async fn last_report_is_recorded(&self) {
        let closing = "select count(*) from accounts where closing";
        within(
            PATIENCE,
            "the ingest's last accept report must be recorded",
            async || self.deployment.count(closing).await == 1,
        )
        .await;
    }

    /// Reads the ends of events after a cursor. Returns the printed lines, or the exit code and the
    /// error text of a failed command.
    fn follow(&self, after: Option<&str>) -> Result<String, (Option<i32>, String)> {
        let mut words = vec!["events", "follow", "--once", "--json"];
        words.extend(after.map(|_| "--after"));
        words.extend(after);
        let output = self.deployment.command(&words).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() {
            Ok(text(output.stdout))
        } else {
            Err((output.status.code(), text(output.stderr)))
        }
    }

    /// Waits until this many ends can be read, and returns their cursors.
    async fn cursors(&self, count: u64) -> Vec<String> {
        let cursor = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["cursor"].as_str().unwrap().to_owned()
        };
        within(PATIENCE, "all ends must be readable", async || {
            let lines = self.follow(None).unwrap();
            let cursors: Vec<String> = lines.lines().map(cursor).collect();
            let count = usize::try_from(count).unwrap();
            if cursors.len() == count {
                Ok(cursors)
            } else {
                Err(cursors.len())
            }
        })
        .await
    }

    /// Checks that `hookbox events follow` refuses this cursor for the reason `why`.
    fn refuses_cursor(&self, cursor: &str, why: &str) {
        let (code, said) = self.follow(Some(cursor)).unwrap_err();
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(why), "{said}");
    }

    async fn finish(self) {
        self.deployment.finish().await;
    }
}

fn reported(books: &Value) -> u64 {
    let routes = books["routes"].as_array().unwrap();
    let of = |route: &Value| route["reported"].as_u64().unwrap();
    routes.iter().map(of).sum()
}

/// Checks that `reconcile` reports an imbalance and the time span in which the lost events were
/// accepted. `reconcile` knows this span from the witness messages.
fn names_the_span(books: &Value, text: &str) {
    assert_eq!(books["verdict"], "imbalanced", "{books:#}");
    let mismatch = &books["witness"]["mismatch"];
    assert_eq!(mismatch["kind"], "store_behind", "{books:#}");
    assert_eq!(mismatch["receipts"], LOST, "{books:#}");
    let (from, until) = (mismatch["from"].as_str(), mismatch["until"].as_str());
    let (from, until) = (from.unwrap(), until.unwrap());
    assert!(from < until, "{from} {until}");
    let span = format!("ask the provider to send again what it sent from {from} to {until}");
    assert!(text.contains(&span), "{text}");
    assert!(!text.contains("every receipt"), "{text}");
}

/// Sends `KEPT` events, copies the database, sends `LOST` more events, and waits until all are
/// reported. Returns the worker, the ingest and the copy.
async fn copied_and_lost(world: &World) -> (Process, Process, Database) {
    let (worker, ingest) = (world.start_worker(), world.deployment.start_ingest());
    world.generate(KEPT, 1);
    world.all_is_reported(KEPT).await;
    worker.stop();
    let copy = world.copy().await;
    let worker = world.start_worker();
    world.generate(LOST, 2);
    world.all_is_reported(KEPT + LOST).await;
    (worker, ingest, copy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_store_is_red_until_a_person_accepts_it() {
    let world = World::new().await;
    let (worker, ingest, copy) = copied_and_lost(&world).await;
    // The worker records the last accept report of the ingest before the restore. After the restore
    // the database no longer has this report, and only the witness messages show that its receipts
    // were reported.
    ingest.stop();
    world.last_report_is_recorded().await;
    worker.stop();
    let cursors = world.cursors(KEPT + LOST).await;
    let (kept, lost) = (&cursors[0], &cursors[cursors.len() - 1]);
    world.restore(&copy).await;

    let (worker, ingest) = (world.start_worker(), world.deployment.start_ingest());
    world.generate(LATER, 3);
    let waited = ["--wait", "30s"];
    let (code, books, text) = world.reconcile(&waited);
    assert_eq!(code, Some(1), "{text}");
    names_the_span(&books, &text);
    within(
        PATIENCE,
        "the worker must report the mismatch",
        async || {
            world.shown.trouble("witness").is_some()
                && world.shown.metric("hookbox_witness_mismatch") == Some(1.0)
        },
    )
    .await;
    let why = world.shown.trouble("witness").unwrap();
    assert!(why.contains("restored to an older state"), "{why}");
    // The mismatch between store and witness messages is only reported. Events must still be
    // processed.
    let receipts = "select count(*) from receipts";
    let done = world.deployment.count(receipts).await;
    assert_eq!(done, KEPT + LATER);
    // The restored store does not have the ends of the lost events. A program that has read such an
    // end must be refused. A program that has read only ends that the store still has misses
    // nothing, so it must be accepted.
    world.refuses_cursor(lost, "this store does not have the end");
    world.follow(Some(kept)).expect("this cursor must be valid");

    let accept = ["--accept-restore", "sent again", "--yes", "--by", "ann"];
    let accepted = world
        .deployment
        .run(&[&["reconcile"], &accept[..]].concat());
    assert!(accepted.contains("store: accepted that"), "{accepted}");
    let (code, books, text) = world.reconcile(&waited);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    assert_eq!(books["witness"]["mismatch"], Value::Null);
    assert_eq!(books["witness"]["accepted"][0]["by"], "ann");
    world.refuses_cursor(kept, "this store is incarnation");
    assert!(
        text.contains("by ann (sent again): the store was"),
        "{text}"
    );
    let audited = "select count(*) from audit where action = 'reconcile.accept_restore'";
    assert_eq!(world.deployment.count(audited).await, 1);
    within(PATIENCE, "the worker must be ready", async || {
        world.shown.is_ready() && world.shown.metric("hookbox_witness_mismatch") == Some(0.0)
    })
    .await;
    // After `reconcile --accept-restore`, the worker publishes new witness messages.
    world.generate(1, 4);
    world.all_is_reported(KEPT + LATER + 1).await;
    worker.stop();
    ingest.stop();
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_restored_under_a_running_hookbox_is_red_at_once() {
    let world = World::new().await;
    let (worker, ingest, copy) = copied_and_lost(&world).await;
    // Worker and ingest keep running during the restore. `reconcile` must report the restore even
    // before ingest has accepted a new event.
    world.restore(&copy).await;
    let (code, books, text) = world.reconcile(&["--wait", "30s"]);
    assert_eq!(code, Some(1), "{text}");
    names_the_span(&books, &text);
    let unknown = &books["witness"]["mismatch"]["ingests"][0];
    assert_eq!(unknown["first"], KEPT + 1, "{books:#}");
    assert_eq!(unknown["last"], KEPT + LOST, "{books:#}");
    // New events have later sequence numbers. They do not fill the gap that the lost events leave,
    // and they do not remove the witness message that shows the loss.
    world.generate(LATER, 3);
    within(
        PATIENCE,
        "`reconcile` must list the gap that the lost events leave",
        async || {
            let (_, books, _) = world.reconcile(&["--wait", "30s"]);
            books["accept_reports"]["gaps"][0]["first"] == KEPT + 1
        },
    )
    .await;
    let (code, books, text) = world.reconcile(&[]);
    assert_eq!(code, Some(1), "{text}");
    names_the_span(&books, &text);
    worker.stop();
    ingest.stop();
    world.finish().await;
}

/// Returns how many accept reports wait in their queue.
fn reports(deployment: &Deployment) -> u64 {
    let queues = deployment.json(&["queues"]);
    let queues = queues["queues"].as_array().unwrap();
    let accounts = queues.iter().find(|it| it["queue"] == "accounts").unwrap();
    accounts["broker"]["ready"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_young_gap_in_the_accept_reports_is_named() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let ingest = deployment.start_ingest();
    for seed in ["1", "2"] {
        let before = reports(&deployment);
        deployment.run(&["generate", "--count", "20", "--seed", seed]);
        within(
            PATIENCE,
            "an accept report about the new events must be in its queue",
            async || reports(&deployment) > before,
        )
        .await;
    }
    let queues = deployment.json(&["queues"]);
    let queues = queues["queues"].as_array().unwrap();
    let accounts = queues.iter().find(|it| it["queue"] == "accounts").unwrap();
    lose_one(accounts["broker"]["name"].as_str().unwrap()).await;
    let worker = deployment.start(&["worker"]);
    let settled = "select count(*) from receipts";
    within(PATIENCE, "all events must be done", async || {
        deployment.count(settled).await == 40 && reports(&deployment) == 0
    })
    .await;
    let gaps = "select count(*) from accounts where first > 1";
    within(
        PATIENCE,
        "the accept report after the lost one must be recorded",
        async || deployment.count(gaps).await == 1,
    )
    .await;
    let output = deployment.command(&["reconcile"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("UNKNOWN: ingest ") && text.contains("has not reported the numbers 1 to "),
        "{text}"
    );
    assert!(!text.contains("every receipt"), "{text}");
    let books = deployment.json(&["reconcile"]);
    assert_eq!(books["verdict"], "moving", "{books:#}");
    assert_eq!(books["unknown"][0]["kind"], "young_gap", "{books:#}");
    let books = deployment.json(&["reconcile", "--wait", "30s"]);
    assert_eq!(books["verdict"], "imbalanced", "{books:#}");
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}

/// Removes the first message from a queue without processing it, as if the broker had lost it.
async fn lose_one(queue: &str) {
    let url = variable("HOOKBOX_TEST_AMQP_URL");
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(&url, properties).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let got = channel.basic_get(queue.into(), BasicGetOptions::default());
    let got = got
        .await
        .unwrap()
        .expect("a message must wait in the queue");
    got.acker.ack(BasicAckOptions::default()).await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}
