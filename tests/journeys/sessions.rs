//! Failures of PostgreSQL's sessions under load: no session is free, the server process of a
//! session is killed, or the server becomes a standby. The worker keeps its messages, uses up no
//! attempt, and resumes.

use std::cell::RefCell;
use std::time::Duration;

use hookbox_testkit::eventually::within;
use hookbox_testkit::servers::process::signal;
use hookbox_testkit::servers::{PostgresServer, find};
use sqlx::postgres::PgRow;
use sqlx::{Connection, Executor, PgConnection, Row};
use tokio::sync::Mutex;

use crate::outages::World;

/// A statement that ends every session except the one in which it runs. The clients connect again.
pub const TERMINATE: &str = "select pg_terminate_backend(pid) from pg_stat_activity
     where backend_type = 'client backend' and pid <> pg_backend_pid()";

/// A statement that ends only the sessions of hookbox.
const TERMINATE_HOOKBOX: &str = "select pg_terminate_backend(pid) from pg_stat_activity
     where application_name = 'hookbox'";

/// A query for the process id of one session of hookbox that is in a transaction.
const AT_WORK: &str = "select pid from pg_stat_activity
     where application_name = 'hookbox' and xact_start is not null limit 1";

/// The server's limit of sessions: more than hookbox needs, and few enough for a test to occupy
/// all.
const SLOTS: usize = 30;

/// The number of server processes that are killed, one after the other.
const KILLS: usize = 3;

/// The longest wait for a server that restarts itself.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_without_a_free_slot_costs_nothing() {
    let slots = SLOTS.to_string();
    let settings = [("max_connections", slots.as_str())];
    let postgres = PostgresServer::start_found(&find::postgres().unwrap(), &settings).unwrap();
    let world = World::over(postgres.url(), postgres.url());
    let taken = Mutex::new(Vec::new());
    world
        .outage(
            "store",
            async || *taken.lock().await = take_every_slot(postgres.url()).await,
            async || taken.lock().await.clear(),
        )
        .await;
    said(&postgres, "too many clients already");
    world.finish().await;
}

/// Occupies every session of the server. The server gives a free session to the first client that
/// connects, which may be hookbox. Therefore the function ends hookbox's sessions repeatedly, until
/// the test has all sessions. Once is not enough: a session that is just being opened cannot be
/// recognized as hookbox's yet.
async fn take_every_slot(url: &str) -> Vec<PgConnection> {
    let mut taken = vec![PgConnection::connect(url).await.unwrap()];
    while taken.len() < SLOTS {
        taken[0].execute(TERMINATE_HOOKBOX).await.unwrap();
        let error = loop {
            match PgConnection::connect(url).await {
                Ok(connection) => taken.push(connection),
                Err(error) => break error,
            }
        };
        let code = error.as_database_error().unwrap().code();
        assert_eq!(code.as_deref(), Some("53300"), "{error}");
    }
    taken
}

/// Kills server processes of PostgreSQL. PostgreSQL must assume that a killed process has damaged
/// the shared memory: it ends all sessions, recovers, and restarts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_processes_of_postgres_cost_nothing() {
    let postgres = PostgresServer::start().unwrap();
    let world = World::over(postgres.url(), postgres.url());
    world
        .change(
            async || {
                for killed in 0..KILLS {
                    kill_one_at_work(postgres.url()).await;
                    within(
                        PATIENCE,
                        "PostgreSQL must log that its process was killed",
                        async || deaths(&postgres) > killed,
                    )
                    .await;
                }
            },
            async || {},
        )
        .await;
    assert!(deaths(&postgres) >= KILLS);
    world.finish().await;
}

async fn kill_one_at_work(url: &str) {
    let mut pid = None;
    within(
        PATIENCE,
        "a session of hookbox must be in a transaction",
        async || {
            // The connection fails while PostgreSQL still recovers from the previous kill.
            if let Ok(mut connection) = PgConnection::connect(url).await {
                let found = connection.fetch_optional(AT_WORK).await;
                pid = found.ok().flatten().map(|row: PgRow| row.get::<i32, _>(0));
            }
            pid.is_some()
        },
    )
    .await;
    signal("KILL", &[u32::try_from(pid.unwrap()).unwrap()]).unwrap();
}

fn deaths(postgres: &PostgresServer) -> usize {
    log(postgres)
        .matches("was terminated by signal 9: Killed")
        .count()
}

/// Checks that no event loses an attempt when the server becomes a standby. This happens after a
/// failover, if hookbox still connects to the old server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_postgres_that_becomes_a_standby_costs_nothing() {
    let postgres = PostgresServer::start().unwrap();
    let url = postgres.url().to_owned();
    let standby = postgres.folder().join("data/standby.signal");
    let world = World::over(&url, &url);
    let postgres = RefCell::new(postgres);
    // A standby can still be read, so the check of the store succeeds. Readiness must name the
    // route, which cannot write.
    world
        .outage(
            "route scores",
            async || {
                std::fs::write(&standby, "").unwrap();
                postgres.borrow_mut().restart().unwrap();
            },
            async || {
                std::fs::remove_file(&standby).unwrap();
                postgres.borrow_mut().restart().unwrap();
            },
        )
        .await;
    said(&postgres.borrow(), "during recovery");
    let log = world.deployment.log();
    assert!(!log.contains("fault.kind=\"internal\""), "{log}");
    // The pause may be logged when the store fails and once more when the store recovers, but not
    // at every retry in between.
    let logged = log
        .matches("storing the accept reports of ingests is paused")
        .count();
    assert!(
        logged <= 2,
        "the pause must be logged at most twice, but was logged {logged} times: {log}"
    );
    world.finish().await;
}

/// Checks that PostgreSQL has logged a text that only the intended failure causes, because without
/// this failure the test would show nothing.
#[track_caller]
pub fn said(postgres: &PostgresServer, words: &str) {
    let log = log(postgres);
    assert!(
        log.contains(words),
        "PostgreSQL must have logged {words:?}: {log}"
    );
}

fn log(postgres: &PostgresServer) -> String {
    std::fs::read_to_string(postgres.folder().join("postgres.log")).unwrap()
}

pub async fn execute(url: &str, statements: &'static str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(statements)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}
