//! Case 33: a worker is frozen (SIGSTOP) in the middle of its handlers for longer than RabbitMQ
//! waits for its heartbeat. What it had in flight goes to another, which waits until the server has
//! ended the frozen one's transaction, and has each effect once. Thawed, the first one's commit and
//! its acknowledgements come too late and have no effect, and it resumes.

use std::time::Duration;

use hookbox_tests::variable;
use sqlx::{Connection, PgConnection};

use crate::deployment::{Deployment, Pair};
use crate::shown::{Shown, within};

/// A handler's statement that waits for the table.
const IN_FLIGHT: &str = "select count(*) from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock' and wait_event = 'relation'";

const DONE: &str = "select count(*) from claims where state = 'done'";

/// How many events are in flight at the frozen one, and how many it does afterwards.
const HELD: u64 = 4;
const LATER: u64 = 3;

/// Longest wait for a condition on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_in_flight_at_a_frozen_worker_are_done_by_another_and_it_resumes() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let broker = variable("HOOKBOX_TEST_AMQP_URL");
    deployment.write("broker", &format!("{broker}?heartbeat=2"));
    // PostgreSQL ends a transaction that waits for its client for five seconds longer.
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
    within(PATIENCE, "an event is in flight", async || {
        deployment.count(IN_FLIGHT).await >= 1
    })
    .await;
    frozen.signal("STOP");
    let shown = Shown::new();
    let other = deployment.start(&["worker", "--metrics", &shown.address()]);
    // Which ends its transaction.
    holder.close().await.unwrap();
    let took = within(PATIENCE, "all of it is done by the other", async || {
        deployment.count(DONE).await == HELD
    })
    .await;
    eprintln!("done by the other after {took:?}");
    let by_it = "hookbox_receipts_total{route=\"scores\",outcome=\"done\"}";
    // Counted after it is committed.
    within(PATIENCE, "it was the other", async || {
        shown.metric(by_it) == Some(HELD as f64)
    })
    .await;
    other.stop();

    frozen.signal("CONT");
    let late = "could not be settled and will be redelivered";
    within(PATIENCE, "its acknowledgement comes too late", async || {
        deployment.log().contains(late)
    })
    .await;
    for _ in 0..LATER {
        deployment.run(&["send"]);
    }
    within(PATIENCE, "it resumes", async || {
        deployment.count(DONE).await == HELD + LATER
    })
    .await;
    assert!(!frozen.has_ended(), "it died of it: {}", deployment.log());
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
