//! A connection pooler between hookbox and PostgreSQL. While each connection keeps its session all
//! is well; a pooler that lends sessions out for single transactions is refused, and one that
//! begins to do so under a running worker costs no attempt. Neither does a change of the schema.

use hookbox_testkit::servers::{PgBouncer, PoolMode, PostgresServer};
use hookbox_tests::variable;

use crate::deployment::Deployment;
use crate::outages::{World, own};
use crate::sessions::{TERMINATE, execute, said};

/// A prepared statement that claims events gives another type from now on.
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
        assert!(!output.status.success(), "{command:?} went on");
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
    said(&postgres, "prepared statement");
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
