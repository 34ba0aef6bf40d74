//! An operator runs stored events on a route with `hookbox events replay`: a second time on a route
//! whose handler allows that, and for the first time on a route that is new in the config.

use serde_json::Value;

use crate::deployment::{Deployment, Pair, Process};
use crate::until::until;

/// How many events are sent.
const EVENTS: usize = 20;

/// A route that selects scores by their bodies. Its handler is that of the route `scores`, which
/// has written the rows of these events already. It is named `applications`, because the queue of
/// a route with this name is removed at the end of a test.
const NEW_ROUTE: &str = r#"
[[route]]
name = "applications"
topics = ["begini.#"]
handler = { kind = "begini" }
where = [{ pointer = "/event/details/calculated", exists = true }]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn done_events_are_replayed_and_feed_a_new_route_on_rabbitmq_and_postgres() {
    replay(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn done_events_are_replayed_and_feed_a_new_route_on_sqlite() {
    replay(Pair::SqliteAlone).await;
}

async fn replay(pair: Pair) {
    let deployment = Deployment::new(pair).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let (only_scores, _) = config.rsplit_once("[[route]]").unwrap();
    deployment.write("hookbox.toml", only_scores);
    let (ingest, worker) = (deployment.start_ingest(), deployment.start(&["worker"]));
    let count = EVENTS.to_string();
    deployment.run(&["generate", "--count", &count, "--seed", "7"]);
    balanced(&deployment);
    let scores = run_again(&deployment);
    stop(worker, ingest);

    deployment.write("hookbox.toml", &format!("{only_scores}{NEW_ROUTE}"));
    deployment.run(&["migrate"]);
    let (ingest, worker) = (deployment.start_ingest(), deployment.start(&["worker"]));
    feed_the_new_route(&deployment, scores);
    stop(worker, ingest);
    deployment.finish().await;
}

/// Replays the events that are done on the route `scores`, and returns their number.
fn run_again(deployment: &Deployment) -> usize {
    let before = deployment.json(&["events", "list", "--limit", "1000"]);
    let scores = done(&before, "scores").len();
    assert!(scores > 0, "{before:#}");

    // The command has no terminal to ask for a confirmation, so without `--yes` it must change
    // nothing.
    let replay = ["events", "replay", "--route", "scores", "--since", "1h"];
    let why = ["--why", "a new column", "--by", "ada"];
    let asked = deployment
        .command(&[&replay[..], &why[..]].concat())
        .output();
    let asked = asked.unwrap();
    let said = String::from_utf8(asked.stderr).unwrap();
    assert_eq!(asked.status.code(), Some(1), "{said}");
    assert!(said.contains("on route scores"), "{said}");

    let again = [&replay[..], &why[..], &["--yes"][..]].concat();
    let report = deployment.json(&again);
    assert_eq!(report["selected"]["again"], scores, "{report:#}");
    assert_eq!(report["replayed"], scores, "{report:#}");
    let all_again = |events: &Value| {
        let events = done(events, "scores");
        events.len() == scores && events.iter().all(|event| event["attempts"] == 2)
    };
    until(
        deployment,
        &["events", "list", "--limit", "1000"],
        all_again,
    );
    balanced(deployment);
    let audit = deployment.json(&["audit", "list", "--actor", "ada", "--limit", "1000"]);
    let audit = audit["audit"].as_array().unwrap();
    assert_eq!(audit.len(), scores);
    let subject = audit[0]["subject"].as_str().unwrap();
    assert!(
        subject.ends_with("on route scores: a new column"),
        "{subject}"
    );
    scores
}

/// Replays the stored events on the route that is new in the config. The route must get exactly the
/// events that its conditions select.
fn feed_the_new_route(deployment: &Deployment, scores: usize) {
    let replay = ["events", "replay", "--route", "applications", "--all"];
    let why = ["--why", "a new route", "--yes"];
    let report = deployment.json(&[&replay[..], &why[..]].concat());
    let selected = &report["selected"];
    assert_eq!(selected["first"], scores, "{report:#}");
    assert_eq!(selected["excluded"], EVENTS - scores, "{report:#}");
    assert_eq!(report["replayed"], scores, "{report:#}");
    let list = ["events", "list", "--route", "applications"];
    let list = [&list[..], &["--limit", "1000"]].concat();
    let are_done = |events: &Value| done(events, "applications").len() == scores;
    until(deployment, &list, are_done);
    balanced(deployment);
}

/// Returns the events that are done on a route.
fn done<'e>(events: &'e Value, route: &str) -> Vec<&'e Value> {
    let events = events["events"].as_array().unwrap().iter();
    events
        .filter(|event| event["route"] == route && event["state"] == "done")
        .collect()
}

fn balanced(deployment: &Deployment) {
    let books = deployment.json(&["reconcile", "--wait", "120s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
}

fn stop(worker: Process, ingest: Process) {
    worker.stop();
    ingest.stop();
}
