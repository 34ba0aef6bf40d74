//! Database sessions that do not belong to hookbox hold locks. A lock on a handler's table must
//! cost no attempt, and must delay no other event of the route. A lock on hookbox's own tables
//! stops all work, which must be reported within ten seconds.

use std::time::Duration;

use hookbox_testkit::eventually::{promised, within};
use sqlx::{Connection, PgConnection};

use crate::deployment::{Deployment, Pair, Process};
use crate::event::score;
use crate::shown::Shown;

/// The number of events whose handlers need the lock that the test holds.
const MET: u64 = 5;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(90);

/// The time within which hookbox must report a route on which nothing is settled any more (a
/// standstill).
const SEEN_WITHIN: Duration = Duration::from_secs(10);

const FAILED: &str = "select count(*) from attempts where outcome <> 'done'";
const DEAD: &str = "select count(*) from dead_letters";
const DONE: &str = "select count(*) from claims where state = 'done'";

/// A table with one row per person. The uid of an event begins with the person's name, and the
/// handlers of all events of one person change the same row.
const PEOPLE: &str = "create table people (uid text primary key, events integer not null)";

/// A trigger function that counts the events of each person in the table `people`.
const COUNT: &str = "create function count_events() returns trigger language plpgsql as $$
     begin
         insert into people values (split_part(new.uid, '-', 1), 1)
             on conflict (uid) do update set events = people.events + 1;
         return new;
     end $$";

/// Runs the function [`COUNT`] in the handler of each score event.
const TRIGGER: &str = "create trigger count_events before insert on begini_scores
     for each row execute function count_events()";

struct World {
    deployment: Deployment,
    ingest: Process,
    worker: Process,
    shown: Shown,
}

impl World {
    async fn new() -> Self {
        let deployment = Deployment::new(Pair::RabbitmqPostgres).await;
        let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
        let limit = "worker.handler_time_limit = \"5 s\"\n[store]\n";
        deployment.write("hookbox.toml", &config.replacen("[store]\n", limit, 1));
        for statement in [PEOPLE, COUNT, TRIGGER] {
            deployment.execute(statement).await;
        }
        let (ingest, shown) = (deployment.start_ingest(), Shown::new());
        let worker = deployment.start(&["worker", "--metrics", &shown.address()]);
        Self {
            deployment,
            ingest,
            worker,
            shown,
        }
    }

    fn send(&self, uid: &str) {
        self.deployment.write("body.json", &score(uid));
        self.deployment.run(&["send", "--file", "body.json"]);
    }

    /// Runs `lock`, which must begin a transaction and take a lock in it, and returns the session
    /// that holds the lock.
    async fn hold(&self, lock: &'static str) -> PgConnection {
        let url = std::fs::read_to_string(self.deployment.folder.join("store")).unwrap();
        let mut holder = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(lock).execute(&mut holder).await.unwrap();
        holder
    }

    async fn are_done(&self, events: u64) {
        let log = || self.deployment.log();
        within(PATIENCE, "all events must be done", async || {
            self.deployment.count(DONE).await == events
        })
        .await;
        assert_eq!(self.deployment.count(FAILED).await, 0, "{}", log());
        assert_eq!(self.deployment.count(DEAD).await, 0, "{}", log());
    }

    async fn finish(self) {
        self.worker.stop();
        self.ingest.stop();
        let books = self.deployment.json(&["reconcile"]);
        assert_eq!(books["imbalances"].as_array().map(Vec::len), Some(0));
        self.deployment.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_row_of_a_handler_costs_no_attempt_and_stops_no_other_event() {
    let world = World::new().await;
    let deployment = &world.deployment;
    world.send("locked-first");
    world.are_done(1).await;
    let holder = world
        .hold("begin; select from people where uid = 'locked' for update")
        .await;
    for number in 0..MET {
        world.send(&format!("locked-{number}"));
        world.send(&format!("free-{number}"));
    }
    let deferred = "select count(*) from retries
         where deferred_reason = 'foreign_lock' and deferred_attempt = 1 and attempt = 1";
    within(
        PATIENCE,
        "events of the person whose row is locked must be deferred, and the other events done",
        async || deployment.count(deferred).await == MET && deployment.count(DONE).await == 1 + MET,
    )
    .await;
    assert_eq!(deployment.count(FAILED).await, 0, "{}", deployment.log());
    let shown = "hookbox_deferred{route=\"scores\"}";
    within(
        PATIENCE,
        "the metrics must show every event of the person whose row is locked as deferred",
        async || world.shown.metric(shown) == Some(MET as f64),
    )
    .await;
    let oldest = "hookbox_deferred_oldest_seconds{route=\"scores\"}";
    within(
        PATIENCE,
        "the metrics must show that the oldest deferral lasts at least 1 s",
        async || world.shown.metric(oldest).is_some_and(|age| age >= 1.0),
    )
    .await;
    let listed = deployment.json(&["events", "list", "--state", "retrying"]);
    let event = listed["events"][0]["event"].as_str().unwrap().to_owned();
    let event = deployment.json(&["events", "show", &event]);
    let retry = &event["retries"][0];
    assert_eq!(retry["deferred"], "foreign_lock", "{event:#}");
    assert_eq!(
        (&retry["attempt"], retry["deferred_since"].is_string()),
        (&1.into(), true)
    );
    holder.close().await.unwrap();
    world.are_done(1 + 2 * MET).await;
    let people = "select sum(events) from people";
    assert_eq!(
        deployment.count(people).await,
        1 + 2 * MET,
        "every event must have one effect"
    );
    world.finish().await;
}

/// Checks a lock on a handler's table. The lock must use up no attempt. In an older version of
/// hookbox, a lock of 35 s used up 22 attempts when the time limit of handlers was 5 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_table_of_a_handler_costs_no_attempt() {
    let world = World::new().await;
    let deployment = &world.deployment;
    let holder = world
        .hold("begin; lock table begini_scores in access exclusive mode")
        .await;
    for number in 0..MET {
        world.send(&format!("user{number}-only"));
    }
    deployment.run(&["send", "--type", "application.complete"]);
    let deferred = "select count(*) from retries where deferred_reason = 'foreign_lock'";
    within(
        PATIENCE,
        "events of the route whose table is locked must be deferred, and the other event done",
        async || deployment.count(deferred).await == MET && deployment.count(DONE).await == 1,
    )
    .await;
    assert_eq!(deployment.count(FAILED).await, 0, "{}", deployment.log());
    holder.close().await.unwrap();
    world.are_done(1 + MET).await;
    world.finish().await;
}

/// Checks a lock on hookbox's own table of claims. While the lock is held, nothing can be settled,
/// so the route must be reported as standing still.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_on_hookboxs_own_table_is_seen_within_ten_seconds_and_costs_no_attempt() {
    let world = World::new().await;
    let deployment = &world.deployment;
    world.send("before");
    world.are_done(1).await;
    within(PATIENCE, "the worker must be ready", async || {
        world.shown.is_ready()
    })
    .await;
    let holder = world
        .hold("begin; lock table claims in access exclusive mode")
        .await;
    for number in 0..MET {
        world.send(&format!("user{number}-only"));
    }
    let paused = "hookbox_route_paused{route=\"scores\",by=\"standstill\"}";
    promised(
        SEEN_WITHIN,
        "the metrics must show the standstill",
        async || world.shown.metric(paused) == Some(1.0),
    )
    .await;
    let trouble = world.shown.trouble("route scores").unwrap_or_default();
    assert!(
        trouble.contains("the route is at a standstill"),
        "{trouble}"
    );
    deployment.logged("route scores stands still");
    holder.close().await.unwrap();
    world.are_done(1 + MET).await;
    within(PATIENCE, "the worker must be ready again", async || {
        world.shown.is_ready() && world.shown.metric(paused) == Some(0.0)
    })
    .await;
    world.finish().await;
}
