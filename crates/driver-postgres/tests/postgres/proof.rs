//! Tests of `Store::prove`, the check of a transaction after a handler that is not hookbox's own.
//! It must detect every way to end the transaction, to break it, and to change the session's
//! settings, and must leave nothing of one handler for the next.

use hookbox_driver::{Claimed, CommitError, Outcome, Store};
use hookbox_driver_postgres::Tx;
use sqlx::{Connection, Executor, PgConnection};

use crate::world::{World, add_effect, envelope};

const DONE: Outcome = Outcome::Done { attempt: 1 };

/// Returns a test database whose store has only one connection, so that the next handler would find
/// whatever a handler leaves in the session.
async fn world() -> World {
    World::with(|options| options.connections_max = 1).await
}

async fn begin(world: &World, number: u8) -> Tx {
    let mut tx = world.store.begin_for_handler().await.unwrap();
    let of = envelope(number, number, "{}");
    let claimed = world.claim(&mut tx, &[&of]).await.unwrap();
    assert_eq!(claimed, [Claimed::Fresh]);
    tx
}

async fn run(world: &World, tx: &mut Tx, statements: &'static str) {
    let connection = world.store.connection(tx);
    connection.execute(sqlx::raw_sql(statements)).await.unwrap();
}

async fn finish(world: &World, mut tx: Tx, number: u8) {
    let of = envelope(number, number, "{}");
    world.settle(&mut tx, &of, DONE).await.unwrap();
    world.store.commit(tx).await.unwrap();
}

/// Statements with which a handler breaks its transaction, and whether they end it. The others make
/// it fail.
const BREAKS: [(&str, bool); 17] = [
    ("commit", true),
    ("commit; begin", true),
    ("commit and chain", true),
    ("commit; begin; select 1/0", true),
    ("rollback", true),
    ("rollback; begin", true),
    ("rollback and chain", true),
    ("rollback; insert into effects values ('after')", true),
    (
        "rollback; begin; insert into effects values ('after'); select 1/0",
        true,
    ),
    (
        "rollback; insert into effects values ('after'); select 1/0",
        true,
    ),
    ("abort", true),
    ("end", true),
    // Prepared transactions are switched off at the server, so this statement fails and rolls the
    // transaction back.
    ("prepare transaction 'away'", true),
    ("select 1/0", false),
    ("savepoint its_own; select 1/0", false),
    ("insert into nowhere values (1)", false),
    ("do $$ begin commit; end $$", false),
];

#[tokio::test]
async fn an_ended_transaction_is_distinguished_in_every_way() {
    let world = world().await;
    for (number, (statements, ends)) in (1..).zip(BREAKS) {
        let mut tx = begin(&world, number).await;
        add_effect(world.store.connection(&mut tx), "before").await;
        let connection = world.store.connection(&mut tx);
        // Each statement is sent on its own, so that a failing one does not revert those before it.
        for statement in statements.split("; ") {
            let statement = sqlx::AssertSqlSafe(statement);
            let _ = connection.execute(sqlx::raw_sql(statement)).await;
        }
        let proof = world.store.prove(&mut tx).await;
        match (&proof, ends) {
            (Err(CommitError::EndedByHandler { .. }), true) => {}
            (Err(CommitError::BrokenByHandler { .. }), false) => {}
            _ => panic!("{statements}: {proof:?}"),
        }
        world.store.rollback(tx).await;
    }
    let kept = BREAKS
        .iter()
        .filter(|(it, _)| it.starts_with("commit") || *it == "end");
    assert_eq!(world.effects("before").await, kept.count() as i64);
    assert_eq!(world.effects("after").await, 2);
}

#[tokio::test]
async fn a_handler_may_use_savepoints_of_its_own() {
    let world = world().await;
    let mut tx = begin(&world, 1).await;
    let own = "savepoint a; insert into effects values ('undone'); rollback to a;
               savepoint b; insert into effects values ('kept'); release b; savepoint c";
    run(&world, &mut tx, own).await;
    world.store.prove(&mut tx).await.unwrap();
    finish(&world, tx, 1).await;
    assert_eq!(world.effects("kept").await, 1);
    assert_eq!(world.effects("undone").await, 0);
}

/// Statements by which a handler changes its session, and the setting that the error must name.
const CHANGES: [(&str, &str); 16] = [
    ("set role weak", "role"),
    ("set local role weak", "role"),
    ("set session authorization weak", "session_authorization"),
    ("set search_path = pg_catalog", "search_path"),
    ("set local search_path = pg_catalog", "search_path"),
    (
        "set session_replication_role = replica",
        "session_replication_role",
    ),
    ("set statement_timeout = 0", "statement_timeout"),
    ("set local statement_timeout = '7s'", "statement_timeout"),
    ("set lock_timeout = 0", "lock_timeout"),
    (
        "set idle_in_transaction_session_timeout = 0",
        "idle_in_transaction_session_timeout",
    ),
    ("set synchronous_commit = off", "synchronous_commit"),
    ("set row_security = off", "row_security"),
    ("set transaction read only", "transaction_read_only"),
    ("set client_encoding = latin1", "client_encoding"),
    ("reset all", "all settings"),
    (
        "discard plans; reset statement_timeout",
        "statement_timeout",
    ),
];

#[tokio::test]
async fn a_changed_session_is_the_handlers_failure_and_is_named() {
    let world = world().await;
    // Roles belong to the whole server, and other tests run at the same time. The name of the role
    // contains that of the database, so that no other test has the same role.
    let weak = format!("weak_of_{}", world.database.name());
    world.execute(&format!("create role {weak}")).await;
    for (number, (statements, name)) in (1..).zip(CHANGES) {
        let mut tx = begin(&world, number).await;
        add_effect(world.store.connection(&mut tx), "changed").await;
        let changes = sqlx::AssertSqlSafe(statements.replace("weak", &weak));
        let connection = world.store.connection(&mut tx);
        connection.execute(sqlx::raw_sql(changes)).await.unwrap();
        let proof = world.store.prove(&mut tx).await;
        let Err(CommitError::BrokenByHandler { why }) = proof else {
            panic!("{statements}: {proof:?}")
        };
        assert!(why.contains(name), "{statements}: {why}");
        world.store.rollback(tx).await;
        let of = envelope(number, number, "{}");
        assert_eq!(world.peek(&of).await, Claimed::Fresh, "{statements}");
    }
    assert_eq!(world.effects("changed").await, 0);
    world.execute(&format!("drop role {weak}")).await;
}

/// Statements whose effect a handler may leave in its session, and a query that returns whether the
/// effect is still there.
const LEAVES: [(&str, &str); 9] = [
    (
        "create temporary table left_behind (n integer)",
        "select to_regclass('pg_temp.left_behind') is not null",
    ),
    (
        "prepare left_behind as select 1",
        "select exists (select from pg_prepared_statements where from_sql)",
    ),
    (
        "listen left_behind",
        "select exists (select pg_listening_channels())",
    ),
    (
        "select pg_advisory_lock(7)",
        "select exists (select from pg_locks
             where locktype = 'advisory' and pid = pg_backend_pid())",
    ),
    (
        "declare left_behind cursor with hold for select 1",
        "select exists (select from pg_cursors where name = 'left_behind')",
    ),
    (
        "declare left_behind cursor for select 1",
        "select exists (select from pg_cursors where name = 'left_behind')",
    ),
    (
        "set app.tenant = 'left behind'",
        "select coalesce(current_setting('app.tenant', true), '') <> ''",
    ),
    (
        "set work_mem = '123 kB'",
        "select current_setting('work_mem') = '123kB'",
    ),
    (
        "set timezone = 'Asia/Tokyo'",
        "select current_setting('timezone') = 'Asia/Tokyo'",
    ),
];

async fn finds(connection: &mut PgConnection, question: &'static str) -> bool {
    let asked = sqlx::query_scalar(question).fetch_one(connection);
    asked.await.unwrap()
}

#[tokio::test]
async fn nothing_that_a_handler_leaves_behind_is_found_by_the_next() {
    let world = world().await;
    for (number, (statements, question)) in (1..).zip(LEAVES) {
        let mut tx = begin(&world, number).await;
        for run_of_two in 1..=2 {
            let connection = world.store.connection(&mut tx);
            let found = finds(connection, question).await;
            assert!(
                !found,
                "{statements}: the handler of run {run_of_two} must find nothing of earlier runs"
            );
            connection.execute(sqlx::raw_sql(statements)).await.unwrap();
            world.store.prove(&mut tx).await.unwrap();
        }
        finish(&world, tx, number).await;
        // The next transaction is one of hookbox's own on the same connection. It must find nothing
        // that a handler left.
        let mut tx = world.store.begin().await.unwrap();
        let found = finds(world.store.connection(&mut tx), question).await;
        assert!(
            !found,
            "{statements}: the next transaction must find nothing that a handler left"
        );
        world.store.rollback(tx).await;
    }
}

/// Returns the process id of the server process that serves the transaction.
async fn process(world: &World, tx: &mut Tx) -> i32 {
    let asked = sqlx::query_scalar("select pg_backend_pid()");
    asked.fetch_one(world.store.connection(tx)).await.unwrap()
}

#[tokio::test]
async fn a_failed_handler_costs_no_connection_and_leaves_nothing_behind() {
    let world = world().await;
    let removes = ("deallocate all", "select false");
    let mut expected = None;
    for (number, (statements, question)) in (1..).zip(LEAVES.into_iter().chain([removes])) {
        let mut tx = begin(&world, number).await;
        run(&world, &mut tx, statements).await;
        let connection = world.store.connection(&mut tx);
        let failing = connection.execute(sqlx::raw_sql("select 1/0")).await;
        failing.expect_err("a division by zero must fail");
        let proof = world.store.prove(&mut tx).await;
        proof.expect_err("an aborted transaction must not pass the check");
        world.store.rollback_failed(tx).await;
        // The event was not claimed, so it is claimed again on the same connection.
        let mut tx = begin(&world, number).await;
        let process = process(&world, &mut tx).await;
        assert_eq!(process, *expected.get_or_insert(process), "{statements}");
        let found = finds(world.store.connection(&mut tx), question).await;
        assert!(
            !found,
            "{statements}: the next handler must find nothing of the failed one"
        );
        world.store.prove(&mut tx).await.unwrap();
        finish(&world, tx, number).await;
    }
}

#[tokio::test]
async fn a_failed_handler_that_leaves_a_savepoint_open_costs_its_connection() {
    let world = world().await;
    let mut tx = begin(&world, 1).await;
    let before = process(&world, &mut tx).await;
    let nested = world.store.connection(&mut tx).begin().await.unwrap();
    // Dropping the nested transaction would end it.
    std::mem::forget(nested);
    world.store.rollback_failed(tx).await;
    let mut tx = begin(&world, 1).await;
    assert_ne!(process(&world, &mut tx).await, before);
    finish(&world, tx, 1).await;
}

#[tokio::test]
async fn statements_that_a_handler_removes_are_prepared_again() {
    let world = world().await;
    for number in 1..=3 {
        let mut tx = begin(&world, number).await;
        run(&world, &mut tx, "deallocate all").await;
        world.store.prove(&mut tx).await.unwrap();
        finish(&world, tx, number).await;
    }
    assert_eq!(world.number("select count(*) from receipts").await, 3);
}

#[tokio::test]
async fn a_session_is_reset_when_the_next_transaction_begins() {
    let world = world().await;
    let mut tx = begin(&world, 1).await;
    finish_after(&world, &mut tx).await;
    finish(&world, tx, 1).await;
    let mut tx = world.store.begin_for_handler().await.unwrap();
    let isolation = finds(
        world.store.connection(&mut tx),
        "select current_setting('transaction_isolation') = 'read committed'
             and current_setting('transaction_read_only') = 'off'",
    )
    .await;
    assert!(
        isolation,
        "the isolation level must be `read committed`, as in every transaction"
    );
    world.store.rollback(tx).await;
}

/// Changes the session after the last check of the transaction (`prove`). So only the reset before
/// the next transaction can revert the change.
async fn finish_after(world: &World, tx: &mut Tx) {
    world.store.prove(tx).await.unwrap();
    let late = "set session characteristics as transaction isolation level serializable, read only";
    run(world, tx, late).await;
}

/// A handler that changes hookbox's tables breaks its own transaction, and its event fails. In
/// PostgreSQL such changes belong to the transaction as rows do, so a rollback reverts them.
#[tokio::test]
async fn a_right_that_the_handler_revokes_is_its_failure() {
    let world = world().await;
    for (number, statements) in (1..).zip([
        "alter table receipts rename to receipts_elsewhere",
        "alter table claims rename column attempts to tries",
    ]) {
        let of = envelope(number, number, "{}");
        let mut tx = begin(&world, number).await;
        run(&world, &mut tx, statements).await;
        world.store.prove(&mut tx).await.unwrap();
        let settled = world.settle(&mut tx, &of, DONE).await;
        let result = match settled {
            Ok(()) => world.store.commit(tx).await,
            Err(error) => {
                world.store.rollback(tx).await;
                Err(error)
            }
        };
        assert!(
            matches!(result, Err(CommitError::BrokenByHandler { .. })),
            "{statements}: {result:?}"
        );
        assert_eq!(world.peek(&of).await, Claimed::Fresh);
    }
}

#[tokio::test]
async fn a_time_limit_that_stops_hookbox_is_the_handlers() {
    let world = world().await;
    let mut tx = begin(&world, 1).await;
    // The limit of 1 ms is long enough for this statement itself, and too short for the query of
    // the proof.
    run(&world, &mut tx, "set statement_timeout = 1").await;
    let proof = world.store.prove(&mut tx).await;
    assert!(
        matches!(proof, Err(CommitError::BrokenByHandler { .. })),
        "{proof:?}"
    );
    world.store.rollback(tx).await;
    let connection = world.connect().await;
    connection.close().await.unwrap();
}

#[tokio::test]
async fn an_error_is_described_without_a_line_of_the_servers_source() {
    #[derive(Debug)]
    struct Embedded(sqlx::Error);
    impl std::fmt::Display for Embedded {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "could not book it: {}", self.0)
        }
    }
    impl std::error::Error for Embedded {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let world = world().await;
    let mut tx = begin(&world, 1).await;
    let connection = world.store.connection(&mut tx);
    let failed = connection.execute("insert into nowhere values (1)").await;
    let error = Embedded(failed.unwrap_err());
    assert!(error.to_string().contains(" at line "), "{error}");
    let shown = world.store.describe(&error);
    let missing = "relation \"nowhere\" does not exist";
    assert!(shown.contains(missing), "{shown}");
    assert!(!shown.contains(" at line "), "{shown}");
    world.store.rollback(tx).await;
}
