//! Case `handler-always-fails` of docs/FAULTS.md: one event that always fails, among fifty good
//! ones. The failing event is tried as often and at such intervals as its retry policy says, and
//! then becomes one dead letter. The good events do not wait for it.

use std::time::Duration;

use hookbox_testkit::eventually::within;

use crate::deployment::{Deployment, Pair};
use crate::event::score;

/// The number of good events. Half of them are sent before the bad event.
const GOOD: u64 = 50;

/// A retry policy that waits six seconds after the first attempt, and twelve after the second. Even
/// a busy machine can process all good events before the second attempt.
const POLICY: &str = "attempts = 3, first = \"6 s\", factor = 2.0, max = \"1 min\", jitter = 0.0";

/// A query for PostgreSQL that counts the retries that did not run too early. For each of them, the
/// time since the previous attempt is at least as long as [`POLICY`] requires.
const IN_TIME_POSTGRES: &str = "select count(*) from attempts a join attempts b
     on a.event = b.event and b.attempt = a.attempt + 1
     where b.at - a.at >= a.attempt * interval '6 s'";

/// The same query as [`IN_TIME_POSTGRES`] for SQLite, which stores times in microseconds.
const IN_TIME_SQLITE: &str = "select count(*) from attempts a join attempts b
     on a.event = b.event and b.attempt = a.attempt + 1
     where b.at - a.at >= a.attempt * 6000000";

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_always_fail_delay_no_other_on_rabbitmq_and_postgres() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    for statement in [
        "create function refuses() returns trigger language plpgsql as $$
         begin
             raise exception 'fails on purpose';
         end $$",
        "create trigger refuses before insert on begini_scores
         for each row when (new.uid = 'fails') execute function refuses()",
    ] {
        deployment.execute(statement).await;
    }
    try_among_good_ones(deployment, IN_TIME_POSTGRES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_always_fail_delay_no_other_on_sqlite() {
    let deployment = Deployment::new(Pair::SqliteAlone).await;
    deployment
        .execute(
            "create trigger refuses before insert on begini_scores when new.uid = 'fails'
             begin select raise(abort, 'fails on purpose'); end",
        )
        .await;
    try_among_good_ones(deployment, IN_TIME_SQLITE).await;
}

async fn try_among_good_ones(deployment: Deployment, in_time: &'static str) {
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let usual = "attempts = 3, first = \"50 ms\", max = \"50 ms\"";
    assert!(config.contains(usual), "{config}");
    deployment.write("hookbox.toml", &config.replacen(usual, POLICY, 1));
    let ingest = deployment.start_ingest();
    // All events are sent before the worker starts, so that they wait together in the queue.
    let half = (GOOD / 2).to_string();
    deployment.run(&["generate", "--count", &half, "--seed", "1"]);
    deployment.write("body.json", &score("fails"));
    deployment.run(&["send", "--file", "body.json"]);
    deployment.run(&["generate", "--count", &half, "--seed", "2"]);
    let worker = deployment.start(&["worker"]);
    let died = "select count(*) from dead_letters";
    within(
        PATIENCE,
        "the bad event must become a dead letter",
        async || deployment.count(died).await >= 1,
    )
    .await;
    let before_its_second = "select count(*) from claims where state = 'done'
         and settled_at < (select at from attempts where attempt = 2)";
    assert_eq!(deployment.count(before_its_second).await, GOOD);
    let attempts = "select count(*) from attempts";
    assert_eq!(
        deployment.count(attempts).await,
        3,
        "only the three attempts of the bad event may have failed"
    );
    assert_eq!(
        deployment.count(in_time).await,
        2,
        "both retries must have waited as long as the policy says"
    );
    let exhausted = "select count(*) from dead_letters where reason = 'exhausted' and attempts = 3";
    assert_eq!(deployment.count(exhausted).await, 1);
    let books = deployment.json(&["reconcile", "--wait", "60s"]);
    assert_eq!(books["verdict"], "balanced", "{books:#}");
    assert_eq!(deployment.count(died).await, 1);
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}
