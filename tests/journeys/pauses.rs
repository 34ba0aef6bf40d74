//! An operator pauses a route while a worker runs. No event of the route may be processed, not even
//! after the worker was killed and restarted. When the operator resumes the route, all its events
//! must be processed.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use serde_json::Value;

use crate::deployment::{Deployment, Pair};
use crate::until::until;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

const WHY: &str = "the bank is down";

/// A query that counts the events that the route `scores` has claimed.
const SCORES: &str = "select count(*) from claims where route = 'scores'";

/// A query that counts the events that the route `applications` has claimed.
const APPLICATIONS: &str = "select count(*) from claims where route = 'applications'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_route_waits_through_a_kill_on_rabbitmq_and_postgres() {
    pause(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_paused_route_waits_through_a_kill_on_sqlite() {
    pause(Pair::SqliteAlone).await;
}

async fn pause(pair: Pair) {
    let deployment = Deployment::new(pair).await;
    let (ingest, worker) = (deployment.start_ingest(), deployment.start(&["worker"]));
    let paused = deployment.run(&[
        "routes", "pause", "scores", "--why", WHY, "--yes", "--by", "ann",
    ]);
    assert!(
        paused.starts_with("store: paused route scores;"),
        "{paused}"
    );
    is_logged(&deployment, 1).await;
    deployment.run(&["generate", "--count", "40", "--seed", "1"]);
    within(
        PATIENCE,
        "the other route must process events",
        async || deployment.count(APPLICATIONS).await > 0,
    )
    .await;
    worker.kill();
    let worker = deployment.start(&["worker"]);
    is_logged(&deployment, 2).await;
    deployment.run(&["generate", "--count", "40", "--seed", "2"]);
    let other_route = until(&deployment, &["reconcile"], |books| {
        route(books, "applications")["open"] == 0
    });
    assert_eq!(deployment.count(SCORES).await, 0);
    assert_eq!(other_route["verdict"], "moving", "{other_route:#}");
    let waiting = &route(&other_route, "scores")["paused"];
    assert_eq!(
        (&waiting["by"], &waiting["why"]),
        (&"ann".into(), &WHY.into())
    );
    let text = deployment.run(&["reconcile"]);
    assert!(
        text.contains("PAUSED: route scores is paused by ann"),
        "{text}"
    );
    let queues = deployment.run(&["queues"]);
    assert!(
        queues.contains("PAUSED: route scores is paused by ann"),
        "{queues}"
    );
    let listed = deployment.json(&["routes", "list"]);
    assert_eq!(route(&listed, "scores")["paused"]["why"], WHY, "{listed:#}");

    deployment.run(&["routes", "resume", "scores", "--yes", "--by", "bob"]);
    let books = deployment.json(&["reconcile", "--wait", "120s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    assert!(deployment.count(SCORES).await > 0);
    let failed = "select count(*) from attempts";
    assert_eq!(
        deployment.count(failed).await,
        0,
        "a pause must cost no attempt"
    );
    is_audited(&deployment);
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}

/// Checks that the audit log has a row for the pause and a row for its end.
fn is_audited(deployment: &Deployment) {
    let audit = deployment.json(&["audit", "list"]);
    let rows: Vec<(&str, &str, &str)> = audit["audit"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap();
            (text("actor"), text("action"), text("subject"))
        })
        .collect();
    let subject = format!("route scores: {WHY}");
    assert_eq!(
        rows,
        [
            ("bob", "routes.resume", "route scores"),
            ("ann", "routes.pause", subject.as_str()),
        ]
    );
}

/// Waits until the log says this many times that the route is paused.
async fn is_logged(deployment: &Deployment, times: usize) {
    within(PATIENCE, "a worker must log the pause", async || {
        let log = deployment.log();
        log.matches("route scores is paused by ann").count() >= times
    })
    .await;
}

fn route<'a>(report: &'a Value, name: &str) -> &'a Value {
    let routes = report["routes"].as_array().unwrap();
    let found = routes.iter().find(|line| line["route"] == name);
    found.unwrap_or(&Value::Null)
}
