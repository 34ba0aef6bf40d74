//! A dependency becomes unavailable under load and comes back: it is shown within two of its
//! deadlines, the worker pauses and holds, nothing is spent, nothing dead-letters, and all resumes
//! by itself.

use std::process::{Child, Stdio};
use std::time::Duration;

use hookbox_testkit::servers::PostgresServer;
use hookbox_tests::proxy::{Mode, Proxy, address_of};
use hookbox_tests::variable;
use serde_json::Value;
use sqlx::Connection as _;

use crate::deployment::{Deployment, Own, Process};
use crate::shown::{Shown, promised, within};

/// Two deadlines of the store: it is checked each second, and has two to answer. A second more for
/// a machine that compiles meanwhile.
const TWO_DEADLINES: Duration = Duration::from_secs(5);

/// Longest wait for a condition on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// As many connections as the config has by default, and one that checks whether the store is
/// there.
const SESSIONS_MAX: u64 = 16 + 1;

/// How many events are sent; at the rate below, for about ten seconds.
const EVENTS: u64 = 2_000;
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
    let proxy = Proxy::before(address_of(postgres.url())).await;
    let through = postgres
        .url()
        .replacen(&address_of(postgres.url()), &proxy.address(), 1);
    let world = World::over(&through, postgres.url());
    world
        .outage(
            "store",
            async || proxy.set(Mode::Hole),
            async || proxy.set(Mode::Pass),
        )
        .await;
    // Neither are there more sessions than before, however often it tried to connect.
    let sessions = "select count(*) from pg_stat_activity where application_name = 'hookbox'";
    let sessions = world.deployment.count(sessions).await;
    assert!(
        (1..=SESSIONS_MAX).contains(&sessions),
        "{sessions} sessions"
    );
    world.finish().await;
}

/// The handlers that were running reach their time limit while the store does not answer: that is
/// the store's fault, and not theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_black_hole_longer_than_the_time_limit_costs_no_attempt() {
    let postgres = PostgresServer::start().unwrap();
    let proxy = Proxy::before(address_of(postgres.url())).await;
    let through = postgres
        .url()
        .replacen(&address_of(postgres.url()), &proxy.address(), 1);
    let limit = "worker.handler_time_limit = \"4 s\"\n";
    let world = World::with(&through, postgres.url(), limit);
    world
        .outage(
            "store",
            async || {
                let mut locks = sqlx::PgConnection::connect(postgres.url()).await.unwrap();
                let lock = "begin; lock table begini_scores in access exclusive mode";
                sqlx::raw_sql(lock).execute(&mut locks).await.unwrap();
                // A handler is in the middle of its statement when the store stops answering.
                let wait = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'";
                let mut waiting = 0_i64;
                while waiting == 0 {
                    waiting = sqlx::query_scalar(wait)
                        .fetch_one(&mut locks)
                        .await
                        .unwrap();
                }
                proxy.set(Mode::Hole);
                sqlx::raw_sql("rollback").execute(&mut locks).await.unwrap();
            },
            async || proxy.set(Mode::Pass),
        )
        .await;
    world.finish().await;
}

/// A deployment over servers that a test breaks.
pub struct World {
    pub deployment: Deployment,
    ingest: Process,
    worker: Process,
    pub shown: Shown,
}

impl World {
    /// PostgreSQL as hookbox reaches it, and as the test does; and the shared RabbitMQ.
    pub fn over(store: &str, direct: &str) -> Self {
        Self::with(store, direct, "")
    }

    /// The same with lines of config before its first table.
    fn with(store: &str, direct: &str, settings: &str) -> Self {
        let mut own = own(store, &variable("HOOKBOX_TEST_AMQP_URL"), direct);
        own.settings = settings.to_owned();
        Self::of(Deployment::over(own))
    }

    /// Of a deployment whose config is written.
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

    /// Breaks something under load, sees it shown, heals it, and counts.
    pub async fn outage(&self, shown_by: &str, break_it: impl AsyncFn(), heal: impl AsyncFn()) {
        let shown = &self.shown;
        let load = self.load().await;
        break_it().await;
        let took = promised(TWO_DEADLINES, "the outage is shown", async || {
            shown.trouble(shown_by).is_some()
        })
        .await;
        eprintln!("shown by {shown_by:?} after {took:?}");
        // Ingest needs the broker only: everything is taken all the while.
        all_is_taken(load).await;
        let held = "hookbox_route_paused{route=\"scores\",by=\"store\"}";
        within(PATIENCE, "the route is paused", async || {
            shown.metric(held) == Some(1.0)
        })
        .await;
        assert!(!shown.is_ready());
        heal().await;
        self.recovers().await;
    }

    /// Changes something under load, changes it back, and counts.
    pub async fn change(&self, change_it: impl AsyncFn(), back: impl AsyncFn()) {
        let load = self.load().await;
        change_it().await;
        all_is_taken(load).await;
        back().await;
        self.recovers().await;
    }

    /// Sends for a while; some of it is done when this returns.
    async fn load(&self) -> Child {
        let Self {
            deployment, shown, ..
        } = self;
        within(PATIENCE, "ready", async || shown.is_ready()).await;
        let count = EVENTS.to_string();
        let load = deployment
            .command(&[
                "simulate", "--json", "--count", &count, "--rate", RATE, "--seed", "5",
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let settled = "hookbox_receipts_total{route=\"scores\",outcome=\"done\"}";
        within(PATIENCE, "some are done", async || {
            shown.metric(settled).is_some_and(|done| done >= 100.0)
        })
        .await;
        load
    }

    async fn recovers(&self) {
        let Self {
            deployment, shown, ..
        } = self;
        let took = within(PATIENCE, "ready again", async || shown.is_ready()).await;
        eprintln!("ready again after {took:?}");
        within(PATIENCE, "every event is done", async || {
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
            "an attempt was spent: {warned:#?}"
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
