//! Case `strange-bodies` of docs/FAULTS.md: bodies with a valid signature and bad content. They
//! have characters that PostgreSQL refuses in text, are invalid UTF-8, are no JSON, or are JSON
//! that overloads its readers. Each event is accepted, stored byte for byte, and ends as done or as
//! a dead letter that can be shown. The worker keeps running.

use std::collections::BTreeSet;
use std::time::Duration;

use hookbox_testkit::eventually::within;
use sqlx::Connection;

use crate::deployment::{Deployment, Pair};
use crate::event::score;

/// The depth of nested arrays. A recursive reader would overflow its stack.
const DEPTH: usize = 100_000;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strange_bodies_are_kept_as_they_came_on_rabbitmq_and_postgres() {
    keep(Pair::RabbitmqPostgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strange_bodies_are_kept_as_they_came_on_sqlite() {
    keep(Pair::SqliteAlone).await;
}

async fn keep(pair: Pair) {
    let deployment = Deployment::new(pair).await;
    let ingest = deployment.start_ingest();
    let mut worker = deployment.start(&["worker"]);
    let bodies = strange();
    for body in &bodies {
        std::fs::write(deployment.folder.join("body"), body).unwrap();
        // Each body is sent twice. The second request must be a duplicate of the first, whatever
        // the body contains.
        for _ in 0..2 {
            deployment.run(&["send", "--file", "body"]);
        }
    }
    let all = bodies.len() as u64;
    within(PATIENCE, "each event must have its outcome", async || {
        assert!(
            !worker.has_ended(),
            "no body may end the worker: {}",
            deployment.log()
        );
        let ended = "select count(*) from claims where state in ('done', 'dead')";
        let again = "select count(*) from receipts where outcome = 'duplicate'";
        deployment.count(ended).await == all && deployment.count(again).await == all
    })
    .await;
    assert_eq!(deployment.count("select count(*) from claims").await, all);
    let kept = kept(&deployment, pair).await;
    assert_eq!(kept.len(), bodies.len());
    assert!(
        kept.into_iter().collect::<BTreeSet<_>>() == bodies.into_iter().collect(),
        "every stored body must be the one that was sent, byte for byte"
    );
    all_can_be_looked_at(&deployment, all);
    // The strange events must not keep the worker from processing a later ordinary event.
    deployment.run(&["send"]);
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    assert_eq!(
        deployment.count("select count(*) from claims").await,
        all + 1
    );
    worker.stop();
    ingest.stop();
    let log = deployment.log();
    assert!(!log.contains("a panic at"), "{log}");
    deployment.finish().await;
}

fn strange() -> Vec<Vec<u8>> {
    let deep = "[".repeat(DEPTH) + &"]".repeat(DEPTH);
    let with = |uid: &str, member: &str| {
        let event = score(uid);
        let rest = event.strip_prefix('{').unwrap();
        format!("{{\"strange\":{member},{rest}").into_bytes()
    };
    let mut invalid = score("not-UTF-8-X").into_bytes();
    let at = invalid.iter().position(|byte| *byte == b'X').unwrap();
    invalid[at] = 0xff;
    vec![
        Vec::new(),
        vec![0],
        deep.clone().into_bytes(),
        "[".repeat(DEPTH).into_bytes(),
        invalid,
        with("deep", &deep),
        with("nul-beside", r#""a\u0000b""#),
        score(r"nul-\u0000").into_bytes(),
        with("surrogate-beside", r#""\ud800""#),
        score(r"surrogate-\udfff").into_bytes(),
        with("infinite", "1e400"),
        score("infinite-score")
            .replace(r#""score":1"#, r#""score":1e400"#)
            .into_bytes(),
        with("twice", r#"1,"strange":2"#),
        with("twice-named", r#"1,"uid":"another""#),
    ]
}

/// Returns the bodies of all events in the store.
async fn kept(deployment: &Deployment, pair: Pair) -> Vec<Vec<u8>> {
    let bodies = "select body from bodies";
    match pair {
        Pair::RabbitmqPostgres => {
            let url = std::fs::read_to_string(deployment.folder.join("store")).unwrap();
            let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
            let bodies = sqlx::query_scalar(bodies).fetch_all(&mut connection).await;
            connection.close().await.unwrap();
            bodies.unwrap()
        }
        Pair::SqliteAlone => {
            let path = format!("sqlite:{}", deployment.folder.join("hookbox.db").display());
            let mut connection = sqlx::SqliteConnection::connect(&path).await.unwrap();
            let bodies = sqlx::query_scalar(bodies).fetch_all(&mut connection).await;
            connection.close().await.unwrap();
            bodies.unwrap()
        }
    }
}

/// Checks that the commands of operators can show each event and each dead letter with its body.
fn all_can_be_looked_at(deployment: &Deployment, all: u64) {
    let events = deployment.json(&["events", "list", "--limit", "100"]);
    let events = events["events"].as_array().unwrap();
    assert_eq!(events.len() as u64, all);
    for event in events {
        let id = event["event"].as_str().unwrap();
        deployment.run(&["events", "show", id, "--body"]);
    }
    let dead = deployment.json(&["dead", "list", "--limit", "100"]);
    let dead = dead["dead"].as_array().unwrap();
    assert!(
        !dead.is_empty(),
        "at least one of the bodies must have become a dead letter"
    );
    for dead_letter in dead {
        let id = dead_letter["id"].as_i64().unwrap().to_string();
        let shown = deployment.run(&["dead", "show", &id, "--body"]);
        eprintln!("{shown:.400}");
    }
}
