//! A connection pooler between hookbox and PostgreSQL. It works as long as each connection keeps
//! its session. A pooler that lends sessions for single transactions is refused. A pooler that
//! starts to do so under a running worker costs no attempt, and neither does a change of the
//! schema. A pooler that is paused or stopped gets its sessions back.

use std::str::FromStr;
use std::time::Duration;

use hookbox_testkit::servers::{PgBouncer, PoolMode, PostgresServer};
use hookbox_tests::variable;
use sqlx::ConnectOptions;
use sqlx::postgres::PgConnectOptions;
use tokio::time::timeout;

use crate::deployment::Deployment;
use crate::outages::{World, own};
use crate::sessions::{TERMINATE, execute, said};
use crate::shown::within;

/// A setting that limits how long hookbox keeps a connection.
const LIFETIME: &str = "[store]\nconnection_lifetime = \"2 s\"\n";

/// How long it may take until a pooler has all its sessions back: the lifetime of a connection, a
/// transaction, and the next work of an idle worker. It is long, for a busy machine.
const GIVEN_BACK: Duration = Duration::from_secs(20);

/// How long the test waits for a condition before it fails. It is long, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Changes the types of columns, so that the prepared statement that claims events returns other
/// types.
const ALTER: &str = "create domain event_key as bytea;
     alter table claims alter column event_id type event_key;
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

/// Makes a deployment that reaches its database through a pooler which keeps a session for each
/// client.
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
    // PgBouncer's console does not know this parameter.
    let mut console = options.extra_float_digits(None).connect().await.unwrap();
    let ran = sqlx::raw_sql(command).execute(&mut console);
    let ran = timeout(GIVEN_BACK, ran).await;
    let ran = ran.unwrap_or_else(|_| panic!("{command} did not end within {GIVEN_BACK:?}"));
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
    // A first load makes the worker open several sessions, besides the one that checks the store.
    world.change(async || {}, async || {}).await;
    let ended = pooler.drain(GIVEN_BACK).unwrap();
    assert!(ended, "the pooler has all its sessions back");
    within(PATIENCE, "the end of the pooler is reported", async || {
        world.shown.trouble("store").is_some()
    })
    .await;
    pooler.restart().unwrap();
    // The same events are sent again, and are checked again.
    world.change(async || {}, async || {}).await;
    world.finish().await;
}
