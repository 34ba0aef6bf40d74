//! Services that are stopped at bad moments, such as under load or while a server is frozen. Every
//! open request must get a correct answer, the process must end within its drain limit, no attempt
//! may be used up, and every message in flight must be put back.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};
use serde_json::Value;
use sqlx::Connection as _;

use crate::deployment::{Deployment, Own, Pair};
use crate::shown::Shown;

/// The line of the config that limits the time of an orderly shutdown (a drain).
const DRAIN: &str = "drain = \"10 s\"\n";

/// The time within which a drain must end: the limit in [`DRAIN`], and one more second for a debug
/// build.
const DRAIN_MAX: Duration = Duration::from_secs(11);

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_under_load_and_started_again_on_rabbitmq_and_postgres() {
    under_load(Deployment::new(Pair::RabbitmqPostgres).await, "TERM", &[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_under_load_and_started_again_on_sqlite() {
    under_load(Deployment::new(Pair::SqliteAlone).await, "TERM", &[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_twice_under_load_is_stopped_once_on_rabbitmq_and_postgres() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    under_load(deployment, "TERM TERM", &[0]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_twice_under_load_is_stopped_once_on_sqlite() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    under_load(deployment, "TERM TERM", &[0]).await;
}

/// Stops hookbox with these signals and restarts it, three times under load. Each time hookbox must
/// end with one of `codes`, and every event that was answered 200 must be processed exactly once.
async fn under_load(deployment: Deployment, signals: &str, codes: &[i32]) {
    const EVENTS: u64 = 4_000;
    let shown = Shown::new();
    let arguments = ["run", "--metrics", &shown.address()];
    let mut running = deployment.start(&arguments);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    let load = generate(&deployment, EVENTS, "32", "60");
    let accepted = "hookbox_requests_total{outcome=\"accepted\"}";
    for _ in 0..3 {
        within(
            PATIENCE,
            "hookbox must accept 300 requests before it is stopped",
            async || shown.metric(accepted).is_some_and(|count| count >= 300.0),
        )
        .await;
        let signalled = Instant::now();
        for signal in signals.split(' ') {
            running.signal(signal);
        }
        let code = running.ends_within(Duration::from_secs(21));
        eprintln!(
            "hookbox ended with {code:?}, {:?} after the signals",
            signalled.elapsed()
        );
        assert!(code.is_some_and(|code| codes.contains(&code)), "{code:?}");
        running = deployment.start(&arguments);
        within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    }
    let tally = tally_of(load).await;
    assert_eq!(tally["undelivered"], 0, "{tally:#}");
    all_done(&deployment, EVENTS).await;
    running.stop();
    nothing_spent(&deployment, EVENTS).await;
    if codes == [0] {
        no_request_waits_in_vain(&deployment, &tally).await;
    }
    deployment.finish().await;
}

/// Checks a service that ended with exit code 0 after each drain. Every stored receipt must have
/// been answered 200, and no connection may have been cut during a request. A request may get no
/// answer if its sender uses a connection at the moment at which hookbox closes it. Such a request
/// must not be stored.
async fn no_request_waits_in_vain(deployment: &Deployment, tally: &Value) {
    let books = deployment.json(&["reconcile"]);
    for line in books["routes"].as_array().unwrap() {
        assert_eq!(
            line["broker"]["ready"], 0,
            "no message may wait in a queue after the drain: {line:#}"
        );
    }
    let stored = deployment.count("select count(*) from receipts").await;
    assert_eq!(tally["answers"]["200"], stored, "{tally:#}");
    let log = deployment.log();
    assert!(!log.contains("open connections are cut"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_while_the_broker_is_frozen() {
    const REQUESTS: u64 = 32;
    let (rabbitmq, postgres, deployment) = servers();
    let shown = Shown::new();
    let running = deployment.start(&["run", "--metrics", &shown.address()]);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    rabbitmq.stop().unwrap();
    let load = generate(&deployment, REQUESTS, "32", "0");
    within(
        PATIENCE,
        "all requests must be in flight, because the frozen broker confirms none",
        async || shown.metric("hookbox_requests_in_flight") == Some(REQUESTS as f64),
    )
    .await;
    let signalled_at = Instant::now();
    running.signal("TERM");
    within(PATIENCE, "the process must drain", async || {
        shown.metric("hookbox_draining") != Some(0.0)
    })
    .await;
    let tally = tally_of(load).await;
    assert_eq!(tally["answers"]["503"], REQUESTS, "{tally:#}");
    assert_eq!(tally["accepted"], 0, "{tally:#}");
    assert_eq!(
        running.ends_within(DRAIN_MAX),
        Some(0),
        "{}",
        deployment.log()
    );
    eprintln!("ended after {:?}", signalled_at.elapsed());
    rabbitmq.cont().unwrap();
    drop((rabbitmq, postgres));
    deployment.remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_while_the_store_is_frozen() {
    const EVENTS: u64 = 3_000;
    let (rabbitmq, postgres, deployment) = servers();
    let ingest = deployment.start_ingest();
    let shown = Shown::new();
    let worker = ["worker", "--metrics", &shown.address()];
    let running = deployment.start(&worker);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    let load = generate(&deployment, EVENTS, "32", "10");
    let done = "hookbox_receipts_total{route=\"scores\",outcome=\"done\"}";
    within(
        PATIENCE,
        "100 receipts must be done before the store is frozen",
        async || shown.metric(done).is_some_and(|done| done >= 100.0),
    )
    .await;
    postgres.stop().unwrap();
    let signalled_at = Instant::now();
    running.signal("TERM");
    assert_eq!(
        running.ends_within(DRAIN_MAX),
        Some(0),
        "{}",
        deployment.log()
    );
    eprintln!("ended after {:?}", signalled_at.elapsed());
    let tally = tally_of(load).await;
    assert_eq!(tally["accepted"], EVENTS, "{tally:#}");
    // No message is in flight any more, so every message in the queues is ready for another worker.
    within(
        PATIENCE,
        "no message may stay unacknowledged, because the drain returns all of them to their queues",
        async || {
            let listed = rabbitmq.ctl(&["-q", "list_queues", "messages_unacknowledged"]);
            let listed = listed.unwrap();
            listed
                .lines()
                .filter_map(|line| line.parse::<u64>().ok())
                .sum::<u64>()
                == 0
        },
    )
    .await;
    postgres.cont().unwrap();
    let again = deployment.start(&worker);
    all_done(&deployment, EVENTS).await;
    again.stop();
    ingest.stop();
    nothing_spent(&deployment, EVENTS).await;
    drop((rabbitmq, postgres));
    deployment.remove();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_while_another_process_locks_the_file() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    deployment.write("hookbox.toml", &format!("{DRAIN}{config}"));
    let shown = Shown::new();
    let worker = deployment.start(&["worker", "--metrics", &shown.address()]);
    within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
    let url = format!("sqlite:{}", deployment.folder.join("hookbox.db").display());
    let mut other = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::raw_sql("begin immediate")
        .execute(&mut other)
        .await
        .unwrap();
    let signalled_at = Instant::now();
    worker.signal("TERM");
    let code = worker.ends_within(DRAIN_MAX);
    assert_eq!(code, Some(0), "{}", deployment.log());
    eprintln!("ended after {:?}", signalled_at.elapsed());
    other.close().await.unwrap();
    deployment.finish().await;
}

fn servers() -> (RabbitmqServer, PostgresServer, Deployment) {
    let (rabbitmq, postgres) = (
        RabbitmqServer::start().unwrap(),
        PostgresServer::start().unwrap(),
    );
    let deployment = Deployment::over(Own {
        store: postgres.url().to_owned(),
        broker: rabbitmq.url().to_owned(),
        direct: postgres.url().to_owned(),
        settings: DRAIN.to_owned(),
    });
    (rabbitmq, postgres, deployment)
}

fn generate(deployment: &Deployment, events: u64, connections: &str, retries: &str) -> Child {
    let count = events.to_string();
    deployment
        .command(&["generate", "--json", "--seed", "9", "--count", &count])
        .args(["--concurrency", connections, "--retries", retries])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn tally_of(load: Child) -> Value {
    let output = tokio::task::spawn_blocking(|| load.wait_with_output()).await;
    serde_json::from_slice(&output.unwrap().unwrap().stdout).unwrap()
}

async fn all_done(deployment: &Deployment, events: u64) {
    within(PATIENCE, "every event must be done", async || {
        deployment
            .count("select count(*) from claims where state = 'done'")
            .await
            == events
    })
    .await;
}

async fn nothing_spent(deployment: &Deployment, events: u64) {
    let count = async |statement| deployment.count(statement).await;
    assert_eq!(
        count("select count(*) from attempts").await,
        0,
        "no attempt may be used up"
    );
    assert_eq!(count("select count(*) from dead_letters").await, 0);
    let effects = "select (select count(*) from begini_scores)
                        + (select count(*) from begini_applications)";
    assert_eq!(count(effects).await, events);
    assert!(
        !deployment.log().contains("a panic at"),
        "{}",
        deployment.log()
    );
}
