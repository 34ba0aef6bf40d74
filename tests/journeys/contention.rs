//! Case `deadlocks` of docs/FAULTS.md: handlers whose own statements conflict, in a running worker.
//! When two transactions wait for each other, PostgreSQL aborts one of them (40P01). PostgreSQL
//! also aborts a transaction that it cannot serialize (40001). The handler of the aborted
//! transaction runs again, and no attempt is used up.

use std::time::Duration;

use hookbox_testkit::eventually::within;

use crate::deployment::{Deployment, Pair};
use crate::event::score;

/// A trigger function that makes two handlers deadlock: each handler locks its own row first. As
/// soon as the test lets both continue, each needs the row of the other. A third handler gets one
/// serialization failure. The trigger counts with a sequence, because a rollback does not revert a
/// sequence.
const IN_THE_WAY: &str = "create function in_the_way() returns trigger language plpgsql as $$
     begin
         if new.uid in ('left-side', 'right-side') then
             update sides set changes = changes + 1 where side = new.uid;
             while exists (select from held) loop
                 perform pg_sleep(0.05);
             end loop;
             update sides set changes = changes + 1 where side <> new.uid;
         elsif new.uid = 'unordered' and nextval('unordered') = 1 then
             raise exception 'could not serialize access' using errcode = '40001';
         end if;
         return new;
     end $$";

/// Runs the function [`IN_THE_WAY`] in the handler of each score event.
const TRIGGER: &str = "create trigger in_the_way before insert on begini_scores
     for each row execute function in_the_way()";

const ASLEEP: &str = "select count(*) from pg_stat_activity
     where datname = current_database() and wait_event = 'PgSleep'";

/// A trigger function that fails once because the session already has a prepared statement of the
/// same name. In production this happens behind a pooler, if another client of the pooler used the
/// session before (H15).
const SHARED: &str = "create function shared() returns trigger language plpgsql as $$
     begin
         if nextval('shared') = 1 then
             execute 'prepare somebodys as select 1';
             execute 'prepare somebodys as select 1';
         end if;
         return new;
     end $$";

/// Runs the function [`SHARED`] in the handler of each score event.
const BEFORE_SCORES: &str = "create trigger shared before insert on begini_scores
     for each row execute function shared()";

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadlock_and_a_failed_serialization_of_handlers_cost_no_attempt() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    for statement in [
        "create table sides (side text primary key, changes integer not null)",
        "insert into sides values ('left-side', 0), ('right-side', 0)",
        "create sequence unordered",
        "create table held (what text)",
        "insert into held values ('both')",
        IN_THE_WAY,
        TRIGGER,
    ] {
        deployment.execute(statement).await;
    }
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    // The second event is sent only when the handler of the first one runs. If both were delivered
    // together, they would share a transaction and could not deadlock.
    for (asleep, uid) in (1..).zip(["left-side", "right-side"]) {
        send(&deployment, uid);
        within(
            PATIENCE,
            "the handler of the event must hold the lock on its row",
            async || deployment.count(ASLEEP).await == asleep,
        )
        .await;
    }
    deployment.execute("delete from held").await;
    send(&deployment, "unordered");
    are_done(&deployment, 3).await;
    let deadlocks = "select deadlocks from pg_stat_database where datname = current_database()";
    within(PATIENCE, "PostgreSQL must count the deadlock", async || {
        deployment.count(deadlocks).await >= 1
    })
    .await;
    let tries = "select last_value from unordered";
    assert_eq!(
        deployment.count(tries).await,
        2,
        "the handler that met the serialization failure must run exactly twice"
    );
    let changes = "select sum(changes) from sides";
    assert_eq!(
        deployment.count(changes).await,
        4,
        "each of the two handlers must have changed both rows"
    );
    nothing_was_spent(&deployment).await;
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_the_session_has_already_costs_no_attempt() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    for statement in ["create sequence shared", SHARED, BEFORE_SCORES] {
        deployment.execute(statement).await;
    }
    let ingest = deployment.start_ingest();
    let worker = deployment.start(&["worker"]);
    send(&deployment, "somebody");
    are_done(&deployment, 1).await;
    let tries = "select last_value from shared";
    assert_eq!(
        deployment.count(tries).await,
        2,
        "the handler must run exactly twice, because its first statement fails"
    );
    nothing_was_spent(&deployment).await;
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}

async fn are_done(deployment: &Deployment, events: u64) {
    let done = "select count(*) from claims where state = 'done'";
    within(PATIENCE, "all events must be done", async || {
        deployment.count(done).await == events
    })
    .await;
}

async fn nothing_was_spent(deployment: &Deployment) {
    for spent in [
        "select count(*) from attempts where outcome <> 'done'",
        "select count(*) from dead_letters",
        "select count(*) from retries",
    ] {
        assert_eq!(deployment.count(spent).await, 0, "{spent}");
    }
}

fn send(deployment: &Deployment, uid: &str) {
    deployment.write("body.json", &score(uid));
    deployment.run(&["send", "--file", "body.json"]);
}
