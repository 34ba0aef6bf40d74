//! Case `worker-frozen` of docs/FAULTS.md: a worker is frozen (SIGSTOP) while its handlers run, for
//! longer than RabbitMQ waits for its heartbeat. Its messages go to another worker, which waits
//! until PostgreSQL has ended the frozen worker's transaction, and produces each effect once. Then
//! the frozen worker resumes. Its commit and its acknowledgements come too late and fail, and it
//! continues to process events.

use std::time::{Duration, Instant};

use hookbox_testkit::eventually::within;
use hookbox_tests::variable;
use sqlx::{Connection, PgConnection};

use crate::deployment::{Deployment, Pair};
use crate::shown::Shown;

/// A query that counts the handlers whose statement waits for the table that the test has locked.
const IN_FLIGHT: &str = "select count(*) from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock' and wait_event = 'relation'";

const DONE: &str = "select count(*) from claims where state = 'done'";

/// The number of events that are in flight at the worker when it is frozen.
const HELD: u64 = 4;

/// The number of events that the worker processes after it has resumed.
const LATER: u64 = 3;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_in_flight_at_a_frozen_worker_are_done_by_another_and_it_resumes() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let broker = variable("HOOKBOX_TEST_AMQP_URL");
    deployment.write("broker", &format!("{broker}?heartbeat=2"));
    // Sets the time limit of handlers to 5 s. If a client does not respond, PostgreSQL ends the
    // client's transaction five seconds after this limit. So the transaction of the frozen worker
    // ends after 10 s.
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let limit = "worker.handler_time_limit = \"5 s\"\n[store]\n";
    deployment.write("hookbox.toml", &config.replacen("[store]\n", limit, 1));
    let ingest = deployment.start_ingest();
    let url = std::fs::read_to_string(deployment.folder.join("store")).unwrap();
    let mut holder = PgConnection::connect(&url).await.unwrap();
    let lock = "begin; lock table begini_scores in access exclusive mode";
    sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
    for _ in 0..HELD {
        deployment.run(&["send"]);
    }
    let mut frozen = deployment.start(&["worker"]);
    within(PATIENCE, "an event must be in flight", async || {
        deployment.count(IN_FLIGHT).await >= 1
    })
    .await;
    frozen.signal("STOP");
    let shown = Shown::new();
    let other = deployment.start(&["worker", "--metrics", &shown.address()]);
    // Closing the connection `holder` ends its transaction, and so releases its lock on the table.
    holder.close().await.unwrap();
    let start = Instant::now();
    let is_done = async || deployment.count(DONE).await == HELD;
    within(PATIENCE, "every event must be processed", is_done).await;
    let took = start.elapsed();
    eprintln!("the other worker had processed the events after {took:?}");
    let by_it = "hookbox_receipts_total{route=\"scores\",outcome=\"done\"}";
    // The metric may lag: the worker counts a receipt only after its commit.
    let is_counted = async || shown.metric(by_it) == Some(HELD as f64);
    within(PATIENCE, "the metrics must count every event", is_counted).await;
    other.stop();

    frozen.signal("CONT");
    let late = "could not be settled and will be redelivered";
    within(PATIENCE, "the failed ack must be logged", async || {
        deployment.log().contains(late)
    })
    .await;
    for _ in 0..LATER {
        deployment.run(&["send"]);
    }
    within(PATIENCE, "the frozen worker must resume", async || {
        deployment.count(DONE).await == HELD + LATER
    })
    .await;
    assert!(!frozen.has_ended(), "worker ended: {}", deployment.log());
    let rows = "select count(*) from begini_scores";
    assert_eq!(deployment.count(rows).await, HELD + LATER);
    for spent in [
        "select count(*) from attempts",
        "select count(*) from dead_letters",
        "select count(*) from retries",
    ] {
        assert_eq!(deployment.count(spent).await, 0, "{spent}");
    }
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books}");
    frozen.stop();
    ingest.stop();
    deployment.finish().await;
}
