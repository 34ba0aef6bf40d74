//! Routes with conditions on the body (`where`). Each event goes to the routes that select its
//! body, and events that no route selects are counted. A replayed dead letter goes to its own
//! route, even if the conditions of this route would not select it any more.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use serde_json::Value;

use crate::deployment::{Deployment, Pair};
use crate::event;
use crate::shown::Shown;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

const ROUTES: [&str; 3] = ["scores", "applications", "unrouted"];

/// A route for high scores, and a route for events from mobile phones. Some events go to both
/// routes, and some to neither.
const SELECTING: &str = r#"
[[route]]
name = "scores"
topics = ["begini.*_score.complete"]
where = [{ pointer = "/event/details/calculated/score", greater = 599.5 }]
[[route]]
name = "applications"
topics = ["begini.#"]
where = [
    { pointer = "/event/details/platform", in = ["ANDROID", "IOS"] },
    { pointer = "/event/details/permissions_granted/0", prefix = "C" },
]
"#;

/// The same routes with conditions that no event satisfies.
const SELECTING_NOTHING: &str = r#"
[[route]]
name = "scores"
topics = ["begini.*_score.complete"]
where = [{ pointer = "/event", exists = false }]
[[route]]
name = "applications"
topics = ["begini.#"]
where = [{ pointer = "/event", equals = "nothing" }]
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_to_the_routes_that_select_their_bodies_on_rabbitmq_and_postgres() {
    select(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_go_to_the_routes_that_select_their_bodies_on_sqlite() {
    select(Pair::SqliteAlone).await;
}

async fn select(pair: Pair) {
    let deployment = Deployment::new(pair).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let (before, _) = config.split_once("[[route]]").unwrap();
    deployment.write("hookbox.toml", &format!("{before}{SELECTING}"));
    let shown = Shown::new();
    let metrics = shown.address();
    let ingest = deployment.spawn_ingest(deployment.command(&["ingest", "--metrics", &metrics]));
    let worker = deployment.start(&["worker"]);
    let unrouted = || shown.metric("hookbox_requests_unrouted_total{source=\"begini\"}");
    assert_eq!(unrouted(), Some(0.0));

    let tally = deployment.json(&[
        "generate",
        "--count",
        "600",
        "--seed",
        "7",
        "--duplicates",
        "10",
        "--malformed",
        "5",
    ]);
    let expected = &tally["expected_by_route"];
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    let of_routes = ROUTES.map(|route| receipts(&books, route));
    for (route, found) in ROUTES.iter().zip(&of_routes) {
        let expected = &expected[route];
        let dead = expected["dead"].as_object().unwrap().values();
        let dead = dead.map(|count| count.as_u64().unwrap()).sum::<u64>();
        let number = |key: &str| expected[key].as_u64().unwrap();
        let expected = [
            number("receipts"),
            number("done"),
            number("duplicate"),
            dead,
        ];
        assert_eq!(*found, expected, "{route}: {tally:#}");
        assert!(
            found[0] > 20,
            "the route {route} must get more than 20 receipts: {tally:#}"
        );
    }
    // The routes have more receipts than ingest has accepted, because some events go to two routes.
    let all: u64 = of_routes.iter().map(|found| found[0]).sum();
    assert!(all > tally["expected"]["receipts"].as_u64().unwrap());
    assert_eq!(unrouted(), Some(of_routes[2][0] as f64));
    split_a_conflict(&deployment).await;
    assert_eq!(unrouted(), Some(of_routes[2][0] as f64 + 1.0));
    worker.stop();
    ingest.stop();

    replay_what_would_not_be_selected(&deployment, &config).await;
    deployment.finish().await;
}

/// Sends one event with two bodies, each of which a different route selects. The event is stored
/// with the first body, so the second body must be a conflict on the route that selects it.
async fn split_a_conflict(deployment: &Deployment) {
    let conflicts = "select count(*) from dead_letters
                     where route = 'unrouted' and reason = 'conflict'";
    let settled = "select count(*) from receipts";
    let before = deployment.count(settled).await;
    for (number, score) in [(1, "700"), (2, "500")] {
        let body = event::score("split").replace(r#""score":1,"#, &format!(r#""score":{score},"#));
        deployment.write("body.json", &body);
        deployment.run(&["send", "--file", "body.json"]);
        within(PATIENCE, "the event must have its outcome", async || {
            deployment.count(settled).await == before + number
        })
        .await;
        assert_eq!(deployment.count(conflicts).await, number - 1, "{score}");
    }
}

/// Replays the dead letters of the route `scores`, whose bodies a JSON Schema has refused. Before
/// the replay, the config changes: now the schema accepts these bodies, but the conditions of the
/// route do not select them any more.
async fn replay_what_would_not_be_selected(deployment: &Deployment, config: &str) {
    let dead = "select count(*) from claims where route = 'scores' and state = 'dead'";
    let done = "select count(*) from claims where route = 'scores' and state = 'done'";
    let elsewhere = "select count(*) from claims where route <> 'scores'";
    let (dead_before, done_before) = (deployment.count(dead).await, deployment.count(done).await);
    assert!(dead_before > 0, "the route scores must have dead letters");
    let before = deployment.count(elsewhere).await;
    std::fs::create_dir(deployment.folder.join("schemas")).unwrap();
    deployment.write("schemas/unknown.json", "{}");
    let (head, _) = config.split_once("[[route]]").unwrap();
    let head = head.replace(
        "preset = \"begini\"\n",
        "preset = \"begini\"\nschemas = \"schemas\"\n",
    );
    deployment.write("hookbox.toml", &format!("{head}{SELECTING_NOTHING}"));
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    deployment.run(&["dead", "replay", "--route", "scores", "--yes"]);
    within(PATIENCE, "the replays must be done", async || {
        deployment.count(done).await == done_before + dead_before
    })
    .await;
    assert_eq!(deployment.count(elsewhere).await, before);
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    worker.stop();
    ingest.stop();
}

/// Returns how many receipts a route has, and how many of them are done, duplicate and dead.
fn receipts(books: &Value, route: &str) -> [u64; 4] {
    let routes = books["routes"].as_array().unwrap();
    let line = routes.iter().find(|line| line["route"] == route).unwrap();
    let outcomes = ["receipts", "done", "duplicate", "dead"];
    outcomes.map(|outcome| line["store"][outcome].as_u64().unwrap())
}
