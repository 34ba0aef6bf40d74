//! A dependency becomes unavailable under load and recovers. The outage is reported within twice
//! the deadline of a check, the worker pauses, no attempt is used up, no event becomes a dead
//! letter, and processing resumes by itself.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use hookbox_testkit::eventually::{promised, within};
use hookbox_testkit::proxy::{Mode, Proxy};
use hookbox_testkit::servers::PostgresServer;
use hookbox_tests::variable;
use serde_json::Value;
use sqlx::Connection as _;

use crate::deployment::{Deployment, Own, Process};
use crate::shown::Shown;

/// The time within which an outage must be reported. Hookbox promises twice the deadline of a check
/// of the store, which is two seconds. The test allows one second more for a busy machine.
const TWO_DEADLINES: Duration = Duration::from_secs(5);

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// The most sessions that hookbox may have at PostgreSQL: 16 connections by default, and one more
/// that checks the store.
const SESSIONS_MAX: u64 = 16 + 1;

/// The number of events in the load. At [`RATE`] events per second they take about ten seconds.
const EVENTS: u64 = 2_000;

/// The number of events that the load sends per second.
const RATE: &str = "200";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_postgres_costs_nothing() {
    let postgres = PostgresServer::start().unwrap();
    let world = World::over(postgres.url(), postgres.url());
    world
        .outage(
            "store",
            async || postgres.stop().unwrap(),
            async || postgres.cont().unwrap(),
        )
        .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_postgres_costs_nothing() {
    let mut postgres = PostgresServer::start().unwrap();
    let url = postgres.url().to_owned();
    let world = World::over(&url, &url);
    let postgres = std::cell::RefCell::new(&mut postgres);
    world
        .outage(
            "store",
            async || postgres.borrow_mut().kill().unwrap(),
            async || postgres.borrow_mut().restart().unwrap(),
        )
        .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_before_postgres_costs_nothing() {
    let postgres = PostgresServer::start().unwrap();
    let proxy = Proxy::before(postgres.url()).unwrap();
    let through = proxy.url(postgres.url());
    let world = World::over(&through, postgres.url());
    world
        .outage(
            "store",
            async || proxy.set(Mode::Hole),
            async || proxy.set(Mode::Pass),
        )
        .await;
    // Hookbox has tried to connect again and again. PostgreSQL must still have no more sessions of
    // hookbox than hookbox's connection limit allows.
    let sessions = "select count(*) from pg_stat_activity where application_name = 'hookbox'";
    let sessions = world.deployment.count(sessions).await;
    assert!(
        (1..=SESSIONS_MAX).contains(&sessions),
        "hookbox must have 1 to {SESSIONS_MAX} sessions, but has {sessions}"
    );
    world.finish().await;
}

/// Checks handlers that reach their time limit only because the store does not answer. Such a run
/// must count as a fault of the store, and not as a failed attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_longer_than_the_time_limit_costs_no_attempt() {
    let postgres = PostgresServer::start().unwrap();
    let proxy = Proxy::before(postgres.url()).unwrap();
    let through = proxy.url(postgres.url());
    let limit = "worker.handler_time_limit = \"4 s\"\n";
    let world = World::with(&through, postgres.url(), limit);
    world
        .outage(
            "store",
            async || {
                let mut locks = sqlx::PgConnection::connect(postgres.url()).await.unwrap();
                let lock = "begin; lock table begini_scores in access exclusive mode";
                sqlx::raw_sql(lock).execute(&mut locks).await.unwrap();
                // The test waits until a handler is in the middle of a statement, because the
                // locked table holds the statement up. Then the test makes the store stop
                // answering.
                let wait = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
                within(PATIENCE, "a handler must wait for the lock", async || {
                    let waiting = sqlx::query_scalar(wait).fetch_one(&mut locks).await;
                    let waiting: i64 = waiting.unwrap();
                    waiting > 0
                })
                .await;
                proxy.set(Mode::Hole);
                sqlx::raw_sql("rollback").execute(&mut locks).await.unwrap();
            },
            async || proxy.set(Mode::Pass),
        )
        .await;
    world.finish().await;
}

/// A deployment with a running ingest and a running worker, whose servers or connections a test
/// breaks.
pub struct World {
    pub deployment: Deployment,
    ingest: Process,
    worker: Process,
    pub shown: Shown,
}

impl World {
    /// Starts a deployment with the RabbitMQ that all tests share and with the given PostgreSQL.
    /// Hookbox connects to PostgreSQL with the URL `store`, and the test itself with the URL
    /// `direct`, which the test must not break.
    pub fn over(store: &str, direct: &str) -> Self {
        Self::with(store, direct, "")
    }

    /// Starts a deployment with additional lines before the first table of the config.
    fn with(store: &str, direct: &str, settings: &str) -> Self {
        let mut own = own(store, &variable("HOOKBOX_TEST_AMQP_URL"), direct);
        own.settings = settings.to_owned();
        Self::of(Deployment::over(own))
    }

    /// Starts an ingest and a worker for a deployment whose config is written already.
    pub fn of(deployment: Deployment) -> Self {
        let shown = Shown::new();
        let ingest = deployment.start_ingest();
        let worker = deployment.start(&["worker", "--metrics", &shown.address()]);
        Self {
            deployment,
            ingest,
            worker,
            shown,
        }
    }

    /// Breaks a dependency under load and waits until readiness reports it under the name
    /// `shown_by`. Then repairs the dependency, and checks that every event is done without a
    /// failed attempt.
    pub async fn outage(&self, shown_by: &str, break_it: impl AsyncFn(), heal: impl AsyncFn()) {
        let shown = &self.shown;
        let load = self.load().await;
        break_it().await;
        let took = promised(
            TWO_DEADLINES,
            "readiness must report the outage",
            async || shown.trouble(shown_by).is_some(),
        )
        .await;
        eprintln!("the outage of {shown_by:?} was reported after {took:?}");
        // Ingest does not need the store, only the broker. So every event is accepted during the
        // outage.
        all_is_taken(load).await;
        let held = "hookbox_route_paused{route=\"scores\",by=\"store\"}";
        within(PATIENCE, "the route must be paused", async || {
            shown.metric(held) == Some(1.0)
        })
        .await;
        assert!(!shown.is_ready());
        heal().await;
        self.recovers().await;
    }

    /// Changes something under load, such as a schema or a pooler, and reverts the change. Then
    /// checks that every event is done without a failed attempt.
    pub async fn change(&self, change_it: impl AsyncFn(), back: impl AsyncFn()) {
        let load = self.load().await;
        change_it().await;
        all_is_taken(load).await;
        back().await;
        self.recovers().await;
    }

    /// Starts to send events in another process, and returns when the first hundred are done.
    async fn load(&self) -> Child {
        let Self {
            deployment, shown, ..
        } = self;
        within(PATIENCE, "hookbox must be ready", async || shown.is_ready()).await;
        let count = EVENTS.to_string();
        let load = deployment
            .command(&[
                "generate", "--json", "--count", &count, "--rate", RATE, "--seed", "5",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let settled = "hookbox_receipts_total{route=\"scores\",outcome=\"done\"}";
        within(PATIENCE, "a hundred events must be done", async || {
            shown.metric(settled).is_some_and(|done| done >= 100.0)
        })
        .await;
        load
    }

    async fn recovers(&self) {
        let Self {
            deployment, shown, ..
        } = self;
        let start = Instant::now();
        within(PATIENCE, "hookbox must be ready again", async || {
            shown.is_ready()
        })
        .await;
        let took = start.elapsed();
        eprintln!("ready again after {took:?}");
        within(PATIENCE, "every event must be done", async || {
            deployment
                .count("select count(*) from claims where state = 'done'")
                .await
                == EVENTS
        })
        .await;
        self.nothing_was_spent().await;
    }

    async fn nothing_was_spent(&self) {
        let count = async |statement| self.deployment.count(statement).await;
        let log = self.deployment.log();
        let warned: Vec<&str> = log
            .lines()
            .filter(|line| !line.contains(" INFO "))
            .collect();
        assert_eq!(
            count("select count(*) from attempts").await,
            0,
            "no attempt may be used up: {warned:#?}"
        );
        assert_eq!(count("select count(*) from dead_letters").await, 0);
        assert_eq!(count("select count(*) from retries").await, 0);
        let effects = "select (select count(*) from begini_scores)
                            + (select count(*) from begini_applications)";
        assert_eq!(count(effects).await, EVENTS);
    }

    pub async fn finish(self) {
        self.worker.stop();
        self.ingest.stop();
        let log = self.deployment.log();
        assert!(!log.contains("a panic at"), "{log}");
        self.deployment.finish().await;
    }
}

async fn all_is_taken(load: Child) {
    let output = tokio::task::spawn_blocking(|| load.wait_with_output()).await;
    let tally: Value = serde_json::from_slice(&output.unwrap().unwrap().stdout).unwrap();
    assert_eq!(tally["accepted"], EVENTS, "{tally:#}");
}

pub fn own(store: &str, broker: &str, direct: &str) -> Own {
    Own {
        store: store.to_owned(),
        broker: broker.to_owned(),
        direct: direct.to_owned(),
        settings: String::new(),
    }
}
