//! Eight thousand events are processed by two workers, one of which is killed and restarted three
//! times meanwhile. What the sender counted, what the tables hold and what `hookbox reconcile`
//! reports agree on every event.

use std::process::Stdio;
use std::time::Duration;

use hookbox_testkit::eventually::within;
use serde_json::Value;

use crate::deployment::{Deployment, Pair};

/// The longest time that the test waits until the next part of the events is processed. A busy
/// machine may need that long.
const PATIENCE: Duration = Duration::from_secs(240);

const EVENTS: &str = "8000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_loses_and_doubles_nothing_on_rabbitmq_and_postgres() {
    survive(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_loses_and_doubles_nothing_on_sqlite() {
    survive(Pair::SqliteAlone).await;
}

async fn survive(pair: Pair) {
    let deployment = Deployment::new(pair).await;
    let ingest = deployment.start_ingest();
    let steady = deployment.start(&["worker"]);
    let mut victim = deployment.start(&["worker"]);
    let generate = deployment
        .command(&[
            "generate",
            "--json",
            "--count",
            EVENTS,
            "--duplicates",
            "5",
            "--tampered",
            "1",
            "--malformed",
            "1",
            "--conflicts",
            "0.5",
            "--late",
            "5",
            "--seed",
            "42",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for share in 1..=3 {
        within(
            PATIENCE,
            "another fifth of the events must get outcomes",
            async || deployment.count("select count(*) from receipts").await >= share * 1_600,
        )
        .await;
        victim.kill();
        victim = deployment.start(&["worker"]);
    }
    let output = generate.wait_with_output().unwrap();
    let tally: Value = serde_json::from_slice(&output.stdout).unwrap();
    let books = deployment.json(&["reconcile", "--wait", "120s"]);
    victim.stop();
    steady.stop();
    ingest.stop();
    agree(&deployment, &tally, &books).await;
    assert!(
        !deployment.log().contains("a panic at"),
        "{}",
        deployment.log()
    );
    deployment.finish().await;
}

async fn agree(deployment: &Deployment, tally: &Value, books: &Value) {
    let number = |value: &Value| value.as_u64().unwrap();
    for nothing in [
        "wrongly_accepted",
        "wrongly_refused",
        "undelivered",
        "unconfirmed",
    ] {
        assert_eq!(tally[nothing], 0, "{nothing}: {tally:#}");
    }
    let refused = number(&tally["refused"]);
    assert!(
        (40..120).contains(&refused),
        "about 1 % of the 8,000 requests should be refused as tampered with: {refused}"
    );
    assert_eq!(number(&tally["answers"]["403"]), refused);
    // The test kills only workers, so ingest should answer every request. On a slow machine ingest
    // may have answered some requests with 503 although it stored their events. The sender repeats
    // each of these requests, so each may have one more receipt, which is a duplicate.
    let more = number(&tally["unknown_outcome"]);
    let expected = tally["expected_by_route"].as_object().unwrap();
    let mut receipts = 0;
    for route in books["routes"].as_array().unwrap() {
        let store = &route["store"];
        let name = route["route"].as_str().unwrap();
        let Some(expected) = expected.get(name) else {
            assert_eq!(number(&store["receipts"]), 0, "{route:#}");
            continue;
        };
        let dead = expected["dead"].as_object().unwrap();
        let dead: u64 = dead.values().map(number).sum();
        assert_eq!(store["done"], expected["done"], "{name}: {books:#}");
        assert_eq!(store["conflict"], expected["conflict"], "{name}");
        assert_eq!(number(&store["dead"]), dead, "{name}");
        assert_eq!(number(&store["retrying"]), 0, "{name}");
        let duplicate = number(&store["duplicate"]);
        let wanted = number(&expected["duplicate"]);
        assert!(
            (wanted..=wanted + more).contains(&duplicate),
            "{name}: {duplicate} {wanted}"
        );
        receipts += number(&store["receipts"]);
    }
    assert!((number(&tally["accepted"])..=number(&tally["accepted"]) + more).contains(&receipts));
    assert_eq!(
        books["imbalances"].as_array().map(Vec::len),
        Some(0),
        "{books:#}"
    );
    // The effects of the handlers: each score event that is done must have exactly one row.
    let rows = deployment.count("select count(*) from begini_scores").await;
    let events = deployment
        .count("select count(distinct event) from begini_scores")
        .await;
    let scores = number(&expected["scores"]["done"]);
    assert_eq!((rows, events), (scores, scores));
    let rows = deployment
        .count("select count(*) from begini_applications")
        .await;
    assert_eq!(rows, number(&expected["applications"]["done"]));
}
