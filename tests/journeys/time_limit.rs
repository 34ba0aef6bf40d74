//! Case `handler-timeout` of docs/FAULTS.md: a handler whose statement still runs in PostgreSQL
//! when its time limit is reached. The attempt counts, the statement is ended, its session is never
//! used again, and other events are processed meanwhile.

use std::time::Duration;

use hookbox_testkit::eventually::{promised, within};

use crate::deployment::{Deployment, Pair};
use crate::event::score;

/// A trigger function that makes the handler of one event sleep for ten minutes, far longer than
/// its time limit.
const SLEEPS: &str = "create function sleeps() returns trigger language plpgsql as $$
     begin
         if new.uid = 'sleeper' then perform pg_sleep(600); end if;
         return new;
     end $$";

/// Runs the function [`SLEEPS`] in the handler of each score event.
const TRIGGER: &str = "create trigger sleeps before insert on begini_scores
     for each row execute function sleeps()";

/// A query that counts the statements in this database that sleep in the trigger.
const ASLEEP: &str = "select count(*) from pg_stat_activity
     where datname = current_database() and wait_event = 'PgSleep'";

/// A statement that records the sessions whose statement sleeps in the trigger.
const NOTE: &str = "insert into sleepers select pid, backend_start from pg_stat_activity
     where datname = current_database() and wait_event = 'PgSleep'";

/// A query that counts how many of the sessions that [`NOTE`] recorded still exist.
const THERE: &str =
    "select count(*) from pg_stat_activity join sleepers using (pid, backend_start)";

/// The time within which PostgreSQL must have ended the session of the sleeping statement.
/// PostgreSQL checks every two seconds whether its client is still connected.
const ENDED_WITHIN: Duration = Duration::from_secs(5);

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_over_the_time_limit_is_ended_and_counts() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    let limit = "worker.handler_time_limit = \"3 s\"\n[store]\n";
    deployment.write("hookbox.toml", &config.replacen("[store]\n", limit, 1));
    let sleepers = "create table sleepers (pid integer, backend_start timestamptz)";
    for statement in [SLEEPS, TRIGGER, sleepers] {
        deployment.execute(statement).await;
    }
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    send(&deployment, "sleeper");
    within(PATIENCE, "the statement must run", async || {
        deployment.count(ASLEEP).await == 1
    })
    .await;
    deployment.execute(NOTE).await;
    let died = "select count(*) from dead_letters where reason = 'exhausted' and attempts = 3";
    send(&deployment, "another");
    let rows = "select count(*) from begini_scores where uid = 'another'";
    within(PATIENCE, "another event must be done", async || {
        deployment.count(rows).await == 1
    })
    .await;
    let attempts = "select count(*) from attempts";
    within(
        PATIENCE,
        "the first attempt of the sleeping handler must be recorded",
        async || deployment.count(attempts).await >= 1,
    )
    .await;
    promised(
        ENDED_WITHIN,
        "PostgreSQL must end the session of the sleeping statement",
        async || deployment.count(THERE).await == 0,
    )
    .await;
    within(
        PATIENCE,
        "the event whose handler sleeps must be a dead letter after three attempts",
        async || deployment.count(died).await == 1,
    )
    .await;
    promised(ENDED_WITHIN, "no statement may still sleep", async || {
        deployment.count(ASLEEP).await == 0
    })
    .await;
    let timed_out = "select count(*) from attempts where outcome = 'timed_out'";
    assert_eq!(deployment.count(timed_out).await, 3);
    assert_eq!(
        deployment.count(attempts).await,
        3,
        "only the three attempts of the sleeping handler may have failed"
    );
    deployment
        .execute("drop trigger sleeps on begini_scores")
        .await;
    deployment.run(&["dead", "replay", "--all", "--yes"]);
    let both = "select count(*) from begini_scores";
    within(PATIENCE, "the replayed event must be done", async || {
        deployment.count(both).await == 2
    })
    .await;
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}

fn send(deployment: &Deployment, uid: &str) {
    deployment.write("body.json", &score(uid));
    deployment.run(&["send", "--file", "body.json"]);
}
