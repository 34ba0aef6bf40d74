//! A connection pooler between hookbox and PostgreSQL. Hookbox works behind a pooler as long as
//! each connection keeps its session. Hookbox must refuse a pooler that lends a session for one
//! transaction only. If a pooler begins to do so while a worker runs, or if the schema changes, no
//! attempt may be used up. A pooler that is paused or stopped must get its sessions back.

use std::str::FromStr;
use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::{PgBouncer, PoolMode, PostgresServer};
use hookbox_tests::variable;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use tokio::time::timeout;

use crate::deployment::Deployment;
use crate::outages::{World, own};
use crate::sessions::{TERMINATE, execute, said};

/// Limits the time for which hookbox keeps a connection to two seconds, so that a pooler that is
/// paused or stopped gets its sessions back soon.
const LIFETIME: &str = "[store]\nconnection_lifetime = \"2 s\"\n";

/// The longest time until a pooler has all its sessions back from hookbox: the lifetime of a
/// connection, the transaction that still runs at its end, and the pause until an idle worker next
/// uses the connection. The rest is slack for a busy machine.
const GIVEN_BACK: Duration = Duration::from_secs(20);

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Changes the columns of the table of claims, so that the statement that claims events returns
/// other types. In a session that prepared this statement before the change, the statement then
/// fails with "cached plan must not change result type".
const ALTER: &str = "create domain event_key as bigint;
     alter table claims alter column event type event_key;
     alter table claims add column later text";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_lends_sessions_for_transactions_is_refused() {
    let postgres = PostgresServer::start().unwrap();
    let broker = variable("HOOKBOX_TEST_AMQP_URL");
    let deployment = Deployment::over(own(postgres.url(), &broker, postgres.url()));
    let pooler = PgBouncer::before(&postgres, PoolMode::Transaction).unwrap();
    deployment.write("store", pooler.url());
    for command in [&["worker"][..], &["migrate"], &["events", "list"]] {
        let output = deployment.command(command).output().unwrap();
        assert!(!output.status.success(), "{command:?} continued");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("pooler"), "{command:?}: {said}");
    }
    deployment.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_whose_mode_changes_under_load_costs_nothing() {
    let postgres = PostgresServer::start().unwrap();
    let pooler = PgBouncer::before(&postgres, PoolMode::Session).unwrap();
    let world = World::over(pooler.url(), postgres.url());
    let connected_anew = async |mode| {
        pooler.pool(mode).unwrap();
        execute(postgres.url(), TERMINATE).await;
    };
    world
        .change(
            async || connected_anew(PoolMode::Transaction).await,
            async || connected_anew(PoolMode::Session).await,
        )
        .await;
    said(&postgres, "this session is of another connection");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_changes_under_load_costs_nothing() {
    let postgres = PostgresServer::start().unwrap();
    let world = World::over(postgres.url(), postgres.url());
    let altered = async || execute(postgres.url(), ALTER).await;
    world.change(altered, async || {}).await;
    said(&postgres, "cached plan must not change result type");
    world.finish().await;
}

/// Makes a deployment that reaches its database through a pooler. The pooler lends each client one
/// session for as long as the client is connected.
fn before(postgres: &PostgresServer, pooler: &PgBouncer) -> Deployment {
    let broker = variable("HOOKBOX_TEST_AMQP_URL");
    let deployment = Deployment::over(own(pooler.url(), &broker, postgres.url()));
    let config = std::fs::read_to_string(deployment.folder.join("hookbox.toml")).unwrap();
    deployment.write("hookbox.toml", &config.replace("[store]\n", LIFETIME));
    deployment
}

/// Runs a command on the pooler's console.
async fn console(pooler: &PgBouncer, command: &'static str) {
    let options = PgConnectOptions::from_str(&pooler.console()).unwrap();
    // sqlx sends the parameter `extra_float_digits` by default, which PgBouncer's console refuses.
    let mut console = options.extra_float_digits(None).connect().await.unwrap();
    let ran = sqlx::raw_sql(command).execute(&mut console);
    let ran = timeout(GIVEN_BACK, ran).await;
    let ran =
        ran.unwrap_or_else(|_| panic!("PgBouncer must complete {command} within {GIVEN_BACK:?}"));
    ran.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_is_paused_under_load_gets_its_sessions_back_and_costs_nothing() {
    let postgres = PostgresServer::start().unwrap();
    let pooler = PgBouncer::before(&postgres, PoolMode::Session).unwrap();
    let world = World::of(before(&postgres, &pooler));
    world
        .change(
            async || console(&pooler, "PAUSE").await,
            async || console(&pooler, "RESUME").await,
        )
        .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_is_stopped_gets_the_sessions_of_an_idle_worker_back() {
    let postgres = PostgresServer::start().unwrap();
    let mut pooler = PgBouncer::before(&postgres, PoolMode::Session).unwrap();
    let world = World::of(before(&postgres, &pooler));
    // Under this first load the worker opens several sessions. Without the load, the worker would
    // have only the session that checks the store.
    world.change(async || {}, async || {}).await;
    let ended = pooler.drain(GIVEN_BACK).unwrap();
    assert!(
        ended,
        "the pooler must end, which it does only when it has all its sessions back"
    );
    within(
        PATIENCE,
        "readiness must report that the store is unreachable without the pooler",
        async || world.shown.trouble("store").is_some(),
    )
    .await;
    pooler.restart().unwrap();
    // The same load runs again, so that the worker must connect through the restarted pooler.
    world.change(async || {}, async || {}).await;
    world.finish().await;
}
