//! Case `read-only` of docs/FAULTS.md: a failover to a replica of PostgreSQL that lacks the last
//! commits. The events of these commits are acknowledged, so the broker does not have them any
//! more, and they are lost. An ingest that still runs gives later sequence numbers to its next
//! events, so `reconcile` lists its lost numbers as a gap. An ingest that has ended reports nothing
//! more, so no gap shows its loss. The witness messages at the broker show it: they record how much
//! each ingest had reported at which time.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::PostgresServer;
use hookbox_tests::variable;
use serde_json::Value;

use crate::deployment::Deployment;
use crate::outages::own;

/// The number of events that the replica has. It lacks all later events.
const KEPT: u64 = 12;

/// The number of events of the first ingest that the replica lacks.
const OF_THE_FIRST: u64 = 8;

/// The number of events of the second ingest that the replica lacks.
const OF_THE_SECOND: u64 = 5;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_loses_the_tail_is_listed_as_far_as_known() {
    let mut postgres = PostgresServer::start().unwrap();
    let broker = variable("HOOKBOX_TEST_AMQP_URL");
    let deployment = Deployment::over(own(postgres.url(), &broker, postgres.url()));
    let (data, replica) = (
        postgres.folder().join("data"),
        postgres.folder().join("replica"),
    );
    let worker = deployment.start(&["worker"]);
    let first = deployment.start_ingest();
    generate(&deployment, KEPT, 1);
    all_receipts_are_reported(&deployment, KEPT).await;
    postgres.kill().unwrap();
    copy(&data, &replica);
    postgres.restart().unwrap();

    generate(&deployment, OF_THE_FIRST, 2);
    all_receipts_are_reported(&deployment, KEPT + OF_THE_FIRST).await;
    first.stop();
    let second = deployment.start_ingest();
    generate(&deployment, OF_THE_SECOND, 3);
    all_receipts_are_reported(&deployment, KEPT + OF_THE_FIRST + OF_THE_SECOND).await;
    postgres.kill().unwrap();
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::rename(&replica, &data).unwrap();
    postgres.restart().unwrap();

    // The accept reports were lost together with the receipts, because both were in PostgreSQL. The
    // witness messages still exist, because they are at the broker.
    let (code, books) = reconcile(&deployment);
    assert_eq!(
        (code, &books["verdict"]),
        (Some(1), &"imbalanced".into()),
        "{books:#}"
    );
    assert_eq!(reported(&books), KEPT, "{books:#}");
    let mismatch = &books["witness"]["mismatch"];
    assert_eq!(mismatch["kind"], "store_behind", "{books:#}");
    assert!(
        mismatch["receipts"].as_u64() >= Some(OF_THE_FIRST),
        "{books:#}"
    );
    // The second ingest still runs. It accepts and reports one more event.
    generate(&deployment, 1, 4);
    within(PATIENCE, "accept reports must list the event", async || {
        reported(&reconcile(&deployment).1) == KEPT + 1
    })
    .await;
    let (code, books) = reconcile(&deployment);
    assert_eq!(
        (code, &books["verdict"]),
        (Some(1), &"imbalanced".into()),
        "{books:#}"
    );
    let gaps = books["accept_reports"]["gaps"].as_array().unwrap();
    // The gap has the numbers of all lost events of the second ingest, which reports later numbers.
    // The first ingest has ended and reports nothing more, so its lost numbers are not known.
    assert_eq!(gaps.len(), 1, "{books:#}");
    assert_eq!(
        (&gaps[0]["first"], &gaps[0]["last"]),
        (&1.into(), &OF_THE_SECOND.into())
    );
    let waited = ["reconcile", "--wait", "30s"];
    let text = deployment.command(&waited).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("UNREPORTED: ingest"), "{text}");
    worker.stop();
    second.stop();
    deployment.finish().await;
}

fn copy(from: &Path, to: &Path) {
    let mut copy = Command::new("cp");
    assert!(copy.arg("-a").args([from, to]).status().unwrap().success());
}

fn generate(deployment: &Deployment, count: u64, seed: u64) {
    let (count, seed) = (count.to_string(), seed.to_string());
    deployment.run(&["generate", "--count", &count, "--seed", &seed]);
}

/// Waits until this many receipts are reported by the ingests and have an outcome.
async fn all_receipts_are_reported(deployment: &Deployment, receipts: u64) {
    within(
        PATIENCE,
        "all receipts must be reported and have an outcome",
        async || {
            let (code, books) = reconcile(deployment);
            code == Some(0) && reported(&books) == receipts
        },
    )
    .await;
    let settled = "select count(*) from receipts";
    assert_eq!(deployment.count(settled).await, receipts);
}

fn reconcile(deployment: &Deployment) -> (Option<i32>, Value) {
    let output = deployment
        .command(&["reconcile", "--json", "--wait", "30s"])
        .output()
        .unwrap();
    let books = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), books)
}

fn reported(books: &Value) -> u64 {
    let routes = books["routes"].as_array().unwrap();
    let of = |route: &Value| route["reported"].as_u64().unwrap();
    routes.iter().map(of).sum()
}
