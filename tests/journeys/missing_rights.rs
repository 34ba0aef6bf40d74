//! The database role of the workers lacks a right that a handler needs. If every event needs the
//! right, the route must be paused, no attempt may be used up, and the log must name the missing
//! grant. If only one event needs it, only this event may wait.

use std::time::Duration;

use hookbox_testkit::eventually::within;
use sqlx::Connection;

use crate::deployment::{Deployment, Pair};
use crate::event::score;
use crate::shown::Shown;

/// The number of events that need the right. In an older version of hookbox the missing right made
/// all of them dead letters.
const EVENTS: u64 = 75;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

const SPENT: &str = "select count(*) from attempts where outcome <> 'done'";
const DEAD: &str = "select count(*) from dead_letters";
const DONE: &str = "select count(*) from claims where state = 'done'";

/// A trigger function that runs with the rights of its owner and writes to the table `notes`. The
/// owner is a role that may not write to this table.
const WRITES: &str = "create function write_as() returns trigger language plpgsql security definer
     as $$
     begin
         insert into notes values (new.uid);
         return new;
     end $$";

/// Runs the function [`WRITES`] in the handler of each score event.
const TRIGGER: &str = "create trigger write_as before insert on begini_scores
     for each row execute function write_as()";

/// A trigger function that fails for one event with PostgreSQL's error for a missing right,
/// although no right is missing. Therefore no grant ends this error.
const DENIES: &str = "create function denies() returns trigger language plpgsql as $$
     begin
         if new.uid = 'denied' then
             raise exception 'permission denied for table secrets' using errcode = '42501';
         end if;
         return new;
     end $$";

/// Runs the function [`DENIES`] in the handler of each score event.
const DENY: &str = "create trigger denies before insert on begini_scores
     for each row execute function denies()";

fn send(deployment: &Deployment, uid: &str) {
    deployment.write("body.json", &score(uid));
    deployment.run(&["send", "--file", "body.json"]);
}

/// Runs a statement that the test builds at run time: it creates or drops a role, or grants a
/// right.
async fn statement(deployment: &Deployment, text: String) {
    let url = std::fs::read_to_string(deployment.folder.join("store")).unwrap();
    let mut connection = sqlx::PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(text))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_every_event_needs_pauses_the_route_and_spends_nothing() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    let role = hookbox_tests::random_name("noter").replace('-', "_");
    statement(
        &deployment,
        format!(
            "create table notes (uid text); {WRITES}; {TRIGGER}; create role {role};
             grant create on schema public to {role};
             grant {role} to current_user; alter function write_as() owner to {role}"
        ),
    )
    .await;
    let (ingest, shown) = (deployment.start_ingest(), Shown::new());
    let worker = deployment.start(&["worker", "--metrics", &shown.address()]);
    for number in 0..EVENTS {
        send(&deployment, &format!("user-{number}"));
    }
    let paused = "hookbox_route_paused{route=\"scores\",by=\"missing_right\"}";
    within(PATIENCE, "the route must be paused", async || {
        shown.metric(paused) == Some(1.0)
    })
    .await;
    let trouble = shown.trouble("route scores").unwrap_or_default();
    assert!(
        trouble.contains("permission denied for table notes")
            && trouble.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO"),
        "{trouble}"
    );
    assert!(!shown.is_ready());
    // The other route has its own queue and needs no missing right, so it must not be paused.
    deployment.run(&["send", "--type", "application.complete"]);
    within(
        PATIENCE,
        "the other route must process its event",
        async || deployment.count(DONE).await == 1,
    )
    .await;
    for nothing in [SPENT, DEAD] {
        assert_eq!(deployment.count(nothing).await, 0, "{nothing}");
    }
    statement(&deployment, format!("grant insert on notes to {role}")).await;
    within(PATIENCE, "all events must be done", async || {
        deployment.count(DONE).await == 1 + EVENTS
    })
    .await;
    let notes = "select count(*) from notes";
    assert_eq!(
        deployment.count(notes).await,
        EVENTS,
        "every event must have one effect"
    );
    for nothing in [SPENT, DEAD] {
        assert_eq!(deployment.count(nothing).await, 0, "{nothing}");
    }
    within(PATIENCE, "the worker must be ready again", async || {
        shown.is_ready() && shown.metric(paused) == Some(0.0)
    })
    .await;
    worker.stop();
    ingest.stop();
    statement(
        &deployment,
        format!("drop owned by {role} cascade; drop role {role}"),
    )
    .await;
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_that_is_denied_a_right_delays_no_other() {
    let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
    for create in [DENIES, DENY] {
        deployment.execute(create).await;
    }
    let (ingest, shown) = (deployment.start_ingest(), Shown::new());
    let worker = deployment.start(&["worker", "--metrics", &shown.address()]);
    send(&deployment, "denied");
    for number in 0..9 {
        send(&deployment, &format!("user-{number}"));
    }
    let deferred = "select count(*) from retries where deferred_reason = 'missing_right'";
    within(
        PATIENCE,
        "the event with the missing right must be deferred, and all other events done",
        async || deployment.count(deferred).await == 1 && deployment.count(DONE).await == 9,
    )
    .await;
    let paused = "hookbox_route_paused{route=\"scores\",by=\"missing_right\"}";
    within(PATIENCE, "the route must not stay paused", async || {
        shown.metric(paused) == Some(0.0)
    })
    .await;
    for nothing in [SPENT, DEAD] {
        assert_eq!(deployment.count(nothing).await, 0, "{nothing}");
    }
    deployment
        .execute("drop trigger denies on begini_scores")
        .await;
    within(
        PATIENCE,
        "the event must be done after the trigger was removed",
        async || deployment.count(DONE).await == 10,
    )
    .await;
    worker.stop();
    ingest.stop();
    deployment.finish().await;
}
