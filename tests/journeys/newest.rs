//! A route that applies only the newest event of each key (`newest`), from its config to the output
//! of commands. An event is stale if a newer event of its key is done, also after a replay.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use serde_json::Value;

use crate::deployment::{Deployment, Pair};
use crate::event;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The route of the test. Its key is `integration_id`, which is the same in all events of the test.
const ROUTE: &str = r#"
[[route]]
name = "scores"
topics = ["begini.#"]
newest = { key = ["/integration_id"], version = "/event/details/scored_at", type = "integer" }
handler = { kind = "begini" }
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_event_is_stale_on_rabbitmq_and_postgres() {
    older_events(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_event_is_stale_on_sqlite() {
    older_events(Pair::SqliteAlone).await;
}

async fn older_events(pair: Pair) {
    let deployment = Deployment::new(pair).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let (before, _) = config.split_once("[[route]]").unwrap();
    deployment.write("hookbox.toml", &format!("{before}{ROUTE}"));
    if pair == Pair::RabbitmqPostgres {
        deployment.run(&["queues", "declare", "--yes"]);
    }
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);

    // The schema allows a `scored_at` of any length, but a version may have 100 characters at most.
    let endless = "9".repeat(101);
    let events = [
        ("first", "5"),
        ("older", "4"),
        ("newer", "6"),
        ("endless", &*endless),
    ];
    for (settled, (uid, version)) in events.into_iter().enumerate() {
        let body =
            event::score(uid).replace(r#""scored_at":1,"#, &format!(r#""scored_at":{version},"#));
        deployment.write("body.json", &body);
        deployment.run(&["send", "--file", "body.json"]);
        within(PATIENCE, "the event must have its outcome", async || {
            deployment.count("select count(*) from receipts").await == settled as u64 + 1
        })
        .await;
    }
    let rows = "select count(*) from begini_scores";
    assert_eq!(deployment.count(rows).await, 2);
    let dead = deployment.json(&["dead", "list", "--reason", "unversioned"]);
    assert_eq!(dead["dead"].as_array().unwrap().len(), 1, "{dead:#}");
    assert_eq!(outcomes(&deployment), (2, 1, 1));

    // The replayed event of version 5 must become stale, because the event of version 6 is done.
    let replay = [
        "events", "replay", "--route", "scores", "--all", "--why", "a test", "--yes",
    ];
    deployment.run(&replay);
    let stale = "select count(*) from claims where state = 'stale'";
    within(
        PATIENCE,
        "the replayed older event must be stale",
        async || deployment.count(stale).await == 2,
    )
    .await;
    let waiting = "select count(*) from claims where state = 'retrying'";
    within(PATIENCE, "no event may wait for a retry", async || {
        deployment.count(waiting).await == 0
    })
    .await;
    assert_eq!(outcomes(&deployment), (1, 2, 1));
    let listed = deployment.json(&["events", "list", "--state", "stale"]);
    assert_eq!(listed["events"].as_array().unwrap().len(), 2, "{listed:#}");
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}

/// Checks that the accounting balances, and returns how many receipts are done, stale and dead.
fn outcomes(deployment: &Deployment) -> (u64, u64, u64) {
    let books: Value = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    let routes = books["routes"].as_array().unwrap();
    let line = routes
        .iter()
        .find(|line| line["route"] == "scores")
        .unwrap();
    let number = |outcome: &str| line["store"][outcome].as_u64().unwrap();
    (number("done"), number("stale"), number("dead"))
}
