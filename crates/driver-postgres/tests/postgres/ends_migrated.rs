//! Tests of the ends of events in a database that was migrated from a schema without ends, and in a
//! database that was moved from another server.

use std::time::Duration;

use hookbox_driver::{
    Claimed, CursorRefusal, DeadFilter, EndCursor, EndOutcome, EndsRead, FaultKind, Ledger,
    OpenError, Store, describe,
};
use hookbox_driver_postgres::testing::Database;
use hookbox_driver_postgres::{Postgres, migrate};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::ends::read;
use crate::world::{DEAD, World, envelope, environment, route};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// The version of a schema that does not have the table `ends` yet.
const WITHOUT_ENDS: i64 = 15;

/// When a dump of one server is loaded into another server, its ends have numbers of transactions
/// that the new server has not given yet. The store must be refused until `migrate` has changed the
/// numbers.
#[tokio::test]
async fn a_database_from_another_server_is_refused_until_it_is_migrated() {
    let world = World::new().await;
    let (first, second) = (envelope(1, 1, "{}"), envelope(2, 2, "{}"));
    world.fail(&first, 1, DEAD).await;
    world.process(&second, "e").await;
    let filter = DeadFilter::default();
    world.store.dead_discard(&filter, 1, "ada").await.unwrap();
    let before = read(&world.store, None, 3).await;
    world.store.close().await;
    let moved = "update ends set ended_xid = (ended_xid::text::numeric + 1e12)::bigint::text::xid8";
    world.execute(moved).await;
    let options = world.database.options(&environment());
    let Err(refused @ OpenError::Refused { .. }) = Postgres::open(options.clone()).await else {
        panic!("the database must be refused")
    };
    let said = refused.to_string();
    assert!(
        said.contains("another server") && said.contains("hookbox migrate"),
        "{said}"
    );
    migrate(options.clone()).await.unwrap();
    let store = Postgres::open(options).await.unwrap();
    let World { database, .. } = world;
    let world = World { store, database };
    world.process(&envelope(3, 3, "{}"), "f").await;
    let rows = read(&world.store, None, 4).await;
    let found: Vec<_> = rows.iter().map(|row| (row.event, row.outcome)).collect();
    let third = envelope(3, 3, "{}").event;
    let expect = [
        (first.event, EndOutcome::Dead),
        (second.event, EndOutcome::Done),
        (first.event, EndOutcome::Discarded),
        (third, EndOutcome::Done),
    ];
    assert_eq!(found, expect);
    let positions: Vec<u64> = rows.iter().map(|row| row.cursor.position).collect();
    assert_eq!(positions[..3], [0, 0, 1]);
    let read = world.store.ends(Some(&before[0].cursor), None, 1).await;
    assert_eq!(read.unwrap(), EndsRead::Refused(CursorRefusal::Gone));
    world.store.close().await;
}

/// Only the newest end has a number that this server has not given yet, as if the old server had
/// given only a few more numbers. After the move, that end comes before the others, so a reader
/// that continued after one of these would miss it. The database is moved three times, because its
/// rows have new numbers after each move, and such rows must be moved correctly as well.
#[tokio::test]
async fn every_cursor_from_before_a_move_is_refused() {
    let mut world = World::new().await;
    let (first, second) = (envelope(1, 1, "{}"), envelope(2, 2, "{}"));
    world.fail(&first, 1, DEAD).await;
    world.process(&second, "e").await;
    let filter = DeadFilter::default();
    world.store.dead_discard(&filter, 1, "ada").await.unwrap();
    let mut before = read(&world.store, None, 3).await;
    for round in 0..3 {
        world.store.close().await;
        world
            .execute(
                "update ends set ended_xid = '1000000000000'
                 where (ended_xid, event) = (select ended_xid, event from ends
                                             order by ended_xid desc, event desc limit 1)",
            )
            .await;
        let options = world.database.options(&environment());
        migrate(options.clone()).await.unwrap();
        world.store = Postgres::open(options).await.unwrap();
        for row in &before {
            let answer = world.store.ends(Some(&row.cursor), None, 1).await;
            let refused = EndsRead::Refused(CursorRefusal::Gone);
            assert_eq!(answer.unwrap(), refused, "move {round}: {row:?}");
        }
        before = read(&world.store, None, 3).await;
        assert_eq!(before.len(), 3, "move {round}");
    }
    world.store.close().await;
}

/// A reader that runs on while the database moves has a cursor whose end is still there. New ends
/// would get lower numbers, so that the reader would miss them.
#[tokio::test]
async fn a_reader_that_runs_during_a_move_is_refused_until_it_is_migrated() {
    // A pooler may keep the reader's connection across the move.
    let lifetime = Duration::from_secs(600);
    let world = World::with(|options| options.connection_lifetime = lifetime).await;
    for number in 1..=2 {
        world.process(&envelope(number, number, "{}"), "e").await;
    }
    let before = read(&world.store, None, 2).await;
    let moved = "update ends set ended_xid = (ended_xid::text::numeric + 1e12)::bigint::text::xid8
                 where event = 2";
    world.execute(moved).await;
    let first = before[0].cursor.clone();
    let second = EndCursor {
        position: before[1].cursor.position + 1_000_000_000_000,
        ..before[1].cursor.clone()
    };
    for cursor in [&first, &second] {
        let read = world.store.ends(Some(cursor), None, 10).await.unwrap();
        assert_eq!(read, EndsRead::Refused(CursorRefusal::Moved), "{cursor}");
    }
    // A reader in SQL finds that the view does not have its last row any more.
    let shown = "select count(*) from hookbox_ends where event = 2";
    assert_eq!(world.number(shown).await, 0);
    let options = world.database.options(&environment());
    migrate(options).await.unwrap();
    for cursor in [&first, &second] {
        let read = world.store.ends(Some(cursor), None, 10).await.unwrap();
        assert_eq!(read, EndsRead::Refused(CursorRefusal::Gone), "{cursor}");
    }
    assert_eq!(read(&world.store, None, 2).await.len(), 2);
    world.store.close().await;
}

/// A worker that runs on while the database moves gets new connections, and must write no ends
/// until the database is migrated. Otherwise the new server's numbers could rise above the old
/// ones, and nothing would show any more that readers have missed these ends.
#[tokio::test]
async fn a_worker_that_runs_during_a_move_writes_nothing_until_it_is_migrated() {
    let world = World::with(|options| options.connection_lifetime = Duration::ZERO).await;
    world.process(&envelope(1, 1, "{}"), "e").await;
    let moved = "update ends set ended_xid = (ended_xid::text::numeric + 1e12)::bigint::text::xid8";
    world.execute(moved).await;
    let fault = world.store.begin().await.err();
    let fault = fault.expect("no transaction may begin on the new server");
    assert_eq!(fault.kind(), FaultKind::Unavailable);
    let said = describe(&fault);
    assert!(
        said.contains("another server") && said.contains("run `hookbox migrate`"),
        "{said}"
    );
    world.store.ping().await.unwrap();
    let options = world.database.options(&environment());
    migrate(options).await.unwrap();
    assert_eq!(
        world.process(&envelope(2, 2, "{}"), "e").await,
        Claimed::Fresh
    );
    world.store.close().await;
}

/// Events 1 to 6 are done, orphaned, retrying, dead, discarded after a replay, and done on the
/// second route after a replay.
const ROWS: &str = "
    insert into meta values ('environment', 'test') on conflict do nothing;
    insert into events (event_id, source, topic, content_digest, received_at)
    select substring(sha256(n::text::bytea) from 1 for 16), 's', 's.t', sha256('d'), now()
    from generate_series(1, 6) as n order by n;
    insert into bodies (event, body) select number, '' from events;
    insert into claims (route, event, state, attempts, settled_at)
    values ('one', 1, 'done', 1, '2026-01-01Z'), ('one', 2, 'done', 1, '2026-01-01Z'),
           ('one', 3, 'retrying', 1, '2026-01-01Z'), ('one', 4, 'dead', 2, '2026-01-02Z'),
           ('one', 5, 'dead', 4, '2026-01-03Z'), ('two', 6, 'done', 3, '2026-01-04Z');
    insert into receipts (route, receipt_id, event, outcome, key_id, instance, number, received_at)
    select route, gen_random_uuid(), event, state, 'k', gen_random_uuid(), event, now()
    from claims where event <> 2;
    insert into dead_letters (route, event, state, reason, detail, attempts)
    values ('one', 4, 'dead', 'rejected', 'no', 2), ('one', 5, 'discarded', 'rejected', 'no', 4),
           ('two', 6, 'replayed', 'rejected', 'no', 2);
    insert into earlier_deaths (dead_letter, died_at, reason, detail, attempts, replayed_by)
    select id, now(), 'rejected', 'no', 2, 'ada' from dead_letters where event > 4;
    insert into retries (route, event, attempt, attempts_before, not_before)
    values ('one', 3, 2, 0, now() + interval '1 h')";

#[tokio::test]
async fn what_had_ended_before_the_migration_is_read_first() {
    let database = Database::create().await.unwrap();
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    MIGRATIONS
        .run_to(WITHOUT_ENDS, &mut connection)
        .await
        .unwrap();
    connection.execute(ROWS).await.unwrap();
    let role = format!("ends_{}", database.name());
    let discards = format!("{role}_discards");
    let grants = format!(
        "create role {role}; grant select, insert, update on receipts to {role};
         grant select on events to {role};
         create role {discards}; grant update on dead_letters to {discards}"
    );
    connection.execute(AssertSqlSafe(grants)).await.unwrap();
    let options = database.options(&environment());
    migrate(options.clone()).await.unwrap();
    let (given, may_discard) = (
        rights_on_ends(&mut connection, &role).await,
        rights_on_ends(&mut connection, &discards).await,
    );
    let gone = format!("drop owned by {role}, {discards}; drop role {role}, {discards}");
    connection.execute(AssertSqlSafe(gone)).await.unwrap();
    assert_eq!(given, ["ends INSERT", "ends SELECT", "hookbox_ends SELECT"]);
    assert_eq!(may_discard, ["ends INSERT"]);
    let store = Postgres::open(options).await.unwrap();
    let world = World { store, database };
    world
        .execute("create table effects (key text not null)")
        .await;
    world.process(&envelope(7, 7, "{}"), "e").await;
    let rows = read(&world.store, None, 5).await;
    let found: Vec<_> = rows
        .iter()
        .map(|row| {
            (
                row.cursor.event.as_i64(),
                row.outcome,
                row.round,
                row.attempts,
            )
        })
        .collect();
    let expect = [
        (1, EndOutcome::Done, 1, 1),
        (4, EndOutcome::Dead, 1, 2),
        (5, EndOutcome::Discarded, 3, 4),
        (6, EndOutcome::Done, 3, 3),
        (7, EndOutcome::Done, 1, 1),
    ];
    assert_eq!(found, expect);
    assert_eq!(rows[3].cursor.route, route("two"));
    assert!(rows[..4].iter().all(|row| row.cursor.position == 0));
    assert!(rows[4].cursor.position > 0);
    connection.close().await.unwrap();
    world.store.close().await;
}

async fn rights_on_ends(connection: &mut PgConnection, role: &str) -> Vec<String> {
    let query = format!(
        "select table_name || ' ' || privilege_type from information_schema.role_table_grants
         where grantee = '{role}' and table_name in ('ends', 'hookbox_ends') order by 1"
    );
    sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_all(connection)
        .await
        .unwrap()
}
