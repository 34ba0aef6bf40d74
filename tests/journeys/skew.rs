//! Two versions of hookbox side by side: ingest and workers of the older version and of this one,
//! on the same broker and store, before and after the migration. Another test upgrades from a
//! version whose workers must be stopped before the migration.
//!
//! `cargo xtask skew` builds the older version and names it in `HOOKBOX_OLD_BINARY`. All other test
//! runs have no older version. Without the feature `skew` these tests are not compiled, so that
//! they never pass without having tested anything.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::ReservedPort;
use hookbox_tests::variable;
use serde_json::Value;

use crate::deployment::{Deployment, Pair, Process};
use crate::shown::get;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The number of events of each load.
const EVENTS: u64 = 1_500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_side_by_side_lose_and_double_nothing() {
    let old = PathBuf::from(variable("HOOKBOX_OLD_BINARY"));
    for pair in [Pair::RabbitmqPostgres, Pair::SqliteAlone] {
        let sides = Sides::begin(pair, old.clone()).await;
        sides.run().await;
    }
}

/// Checks the upgrade from a version whose schema is older than 14. The old workers are stopped
/// before the migration, and the old ingest keeps running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_stops_the_workers_loses_and_doubles_nothing() {
    let old = PathBuf::from(variable("HOOKBOX_OLD_BINARY"));
    for pair in [Pair::RabbitmqPostgres, Pair::SqliteAlone] {
        let sides = Sides::begin(pair, old.clone()).await;
        sides.upgrade().await;
    }
}

struct Sides {
    deployment: Deployment,
    old: PathBuf,
    old_port: u16,
    _reserved: ReservedPort,
}

impl Sides {
    /// Migrates an empty database with the older version, before this version is used at all.
    async fn begin(pair: Pair, old: PathBuf) -> Self {
        let deployment = Deployment::without_a_schema(pair).await;
        let reserved = ReservedPort::choose().unwrap();
        let old_port = reserved.number();
        let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
        let (new, old_listens) = (deployment.port.to_string(), old_port.to_string());
        deployment.write("old.toml", &config.replace(&new, &old_listens));
        let migrate = deployment.command_of(&old, &["migrate"]).status().unwrap();
        assert!(
            migrate.success(),
            "the older hookbox must migrate the database"
        );
        Self {
            deployment,
            old,
            old_port,
            _reserved: reserved,
        }
    }

    async fn run(self) {
        let Self { deployment, .. } = &self;
        let old_ingest = self.start_old("ingest");
        let old_workers = [self.start_old("worker"), self.start_old("worker")];
        ready(self.old_port).await;
        // This version migrates the database while events are sent to the older version.
        let first = self.load(self.old_port, 1);
        self.accepted(100).await;
        deployment.run(&["migrate"]);
        let new_ingest = deployment.start_ingest();
        let new_worker = deployment.start(&["worker"]);
        let second = self.load(deployment.port, 2);
        let mut accepted = accepted_of(first).await + accepted_of(second).await;
        self.done(2 * EVENTS).await;
        // Only workers of the older version run now. They must read the messages that the ingest of
        // this version writes.
        new_worker.stop();
        accepted += accepted_of(self.load(deployment.port, 3)).await;
        self.done(3 * EVENTS).await;
        // Only a worker of this version runs now. It must read the messages that the ingest of the
        // older version writes.
        for worker in old_workers {
            worker.stop();
        }
        let new_worker = deployment.start(&["worker"]);
        accepted += accepted_of(self.load(self.old_port, 4)).await;
        self.done(4 * EVENTS).await;
        self.each_has_one_effect(4 * EVENTS, accepted).await;
        for process in [new_worker, new_ingest, old_ingest] {
            process.stop();
        }
        self.deployment.finish().await;
    }

    async fn upgrade(self) {
        let Self { deployment, .. } = &self;
        let old_ingest = self.start_old("ingest");
        let old_workers = [self.start_old("worker"), self.start_old("worker")];
        ready(self.old_port).await;
        let first = self.load(self.old_port, 1);
        self.accepted(100).await;
        // The ingest of the older version accepts events throughout.
        let second = self.load(self.old_port, 2);
        for worker in old_workers {
            worker.stop();
        }
        deployment.run(&["migrate"]);
        let refused = deployment
            .command_of(&self.old, &["--config", "old.toml", "worker"])
            .output()
            .unwrap();
        assert_eq!(
            refused.status.code(),
            Some(78),
            "a worker of the older version must refuse the new schema: {refused:?}"
        );
        let new_worker = deployment.start(&["worker"]);
        let mut accepted = accepted_of(first).await + accepted_of(second).await;
        old_ingest.stop();
        let new_ingest = deployment.start_ingest();
        accepted += accepted_of(self.load(deployment.port, 3)).await;
        self.done(3 * EVENTS).await;
        self.each_has_one_effect(3 * EVENTS, accepted).await;
        for process in [new_worker, new_ingest] {
            process.stop();
        }
        self.deployment.finish().await;
    }

    fn start_old(&self, role: &str) -> Process {
        let arguments = ["--config", "old.toml", role];
        self.deployment
            .spawn(self.deployment.command_of(&self.old, &arguments))
    }

    /// Starts to send events to this port. Some of them are sent twice. Each seed produces
    /// different events.
    fn load(&self, port: u16, seed: u64) -> Child {
        let (count, seed) = (EVENTS.to_string(), seed.to_string());
        let url = format!("http://127.0.0.1:{port}");
        let arguments = ["generate", "--json", "--url", &url, "--count", &count];
        self.deployment
            .command(&arguments)
            .args(["--seed", &seed, "--duplicates", "5", "--concurrency", "16"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    async fn accepted(&self, receipts: u64) {
        within(
            PATIENCE,
            "the expected number of receipts of the load must be stored",
            async || self.deployment.count("select count(*) from receipts").await >= receipts,
        )
        .await;
    }

    async fn done(&self, events: u64) {
        let statement = "select count(*) from claims where state = 'done'";
        within(PATIENCE, "every event must be done", async || {
            self.deployment.count(statement).await >= events
        })
        .await;
    }

    /// Checks that the accounting balances, and that each of the events has exactly one effect.
    async fn each_has_one_effect(&self, events: u64, accepted: u64) {
        let books = self.deployment.json(&["reconcile", "--wait", "60s"]);
        assert_eq!(
            books["imbalances"].as_array().map(Vec::len),
            Some(0),
            "{books:#}"
        );
        let count = async |statement| self.deployment.count(statement).await;
        let effects = "select (select count(*) from begini_scores)
                            + (select count(*) from begini_applications)";
        assert_eq!(count(effects).await, events);
        assert_eq!(count("select count(*) from events").await, events);
        assert_eq!(
            count("select count(*) from attempts").await,
            0,
            "no attempt may be used up"
        );
        assert_eq!(count("select count(*) from dead_letters").await, 0);
        let receipts = count("select count(*) from receipts").await;
        assert!(
            receipts >= accepted,
            "the store must have each accepted receipt: {receipts} stored, {accepted} accepted"
        );
        let log = self.deployment.log();
        assert!(!log.contains("a panic at"), "{log}");
    }
}

async fn ready(port: u16) {
    within(PATIENCE, "the older ingest must be ready", async || {
        get(port, "/readyz").is_some_and(|(status, _)| status == 200)
    })
    .await;
}

/// Returns how many requests were answered 200, and checks that none was left without an answer.
async fn accepted_of(load: Child) -> u64 {
    let output = tokio::task::spawn_blocking(|| load.wait_with_output()).await;
    let tally: Value = serde_json::from_slice(&output.unwrap().unwrap().stdout).unwrap();
    assert_eq!(tally["undelivered"], 0, "{tally:#}");
    tally["accepted"].as_u64().unwrap()
}
