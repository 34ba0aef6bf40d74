//! Tests the migrations from schema 10 that number the events, on a database with rows of every
//! kind. A migration whose connection is cut must leave nothing behind, and the next run must
//! continue.

use std::collections::BTreeMap;

use hookbox_driver::{Ledger, OpenError, Store, describe};
use hookbox_driver_postgres::testing::Database;
use hookbox_driver_postgres::{Postgres, migrate};
use hookbox_testkit::eventually::eventually;
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use crate::world::environment;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// The newest schema in which the tables are keyed by the id of the event.
const BY_ID: i64 = 10;

/// Events 1 to 6 are done, retrying, dead, a conflict that is dead, orphaned and undecodable. They
/// were received in the opposite order, event 7 first. Event 7 is done on a second route, too.
const ROWS: &str = "
    insert into meta values ('environment', 'test') on conflict do nothing;
    insert into events (event_id, source, topic, content_digest, body, seal, received_at,
                        created_at)
    select sha256(n::text::bytea), 'begini', 'begini.t' || n, sha256(('d' || n)::bytea),
           ('body ' || n)::bytea, case n when 2 then 'seal' end,
           timestamptz '2026-01-01' - n * interval '1 s', timestamptz '2026-01-02'
    from generate_series(1, 7) as n;
    insert into claims (route, event_id, state, attempts, claimed_at, settled_at)
    select 'one', sha256(n::text::bytea),
           (array['done', 'retrying', 'dead', 'dead', 'running', 'dead', 'done'])[n], n,
           timestamptz '2026-01-03', timestamptz '2026-01-04'
    from generate_series(1, 7) as n
    union all select 'two', sha256('7'), 'done', 1, timestamptz '2026-01-03', null;
    insert into receipts (route, receipt_id, event_id, outcome, key_id, instance, number,
                          traceparent, received_at, settled_at, other_digest)
    select 'one', ('00000000-0000-7000-8000-00000000000' || n)::uuid, sha256(n::text::bytea),
           (array['done', 'retrying', 'dead', 'conflict', 'done', 'dead', 'done'])[n], 'key',
           '00000000-0000-7000-8000-0000000000ff'::uuid, n, case n when 1 then 'trace' end,
           timestamptz '2026-01-05', timestamptz '2026-01-06',
           case n when 3 then sha256('other') end
    from generate_series(1, 7) as n where n not in (5, 6)
    union all
    select 'one', '00000000-0000-7000-8000-0000000000aa'::uuid, sha256('1'), 'duplicate', 'key',
           '00000000-0000-7000-8000-0000000000ff'::uuid, 90, null, timestamptz '2026-01-05',
           timestamptz '2026-01-06', null
    union all
    select 'two', '00000000-0000-7000-8000-000000000007'::uuid, sha256('7'), 'done', 'key',
           '00000000-0000-7000-8000-0000000000ff'::uuid, 7, null, timestamptz '2026-01-05',
           timestamptz '2026-01-06', null;
    insert into attempts values
        ('one', sha256('2'), 1, 'transient', 'first', 3, timestamptz '2026-01-07'),
        ('one', sha256('2'), 2, 'panicked', 'second', 4, timestamptz '2026-01-08'),
        ('one', sha256('3'), 1, 'permanent', null, 5, timestamptz '2026-01-09');
    insert into retries values
        ('one', sha256('2'), 3, 1, timestamptz '2026-02-01', null, 3, 'foreign_lock',
         timestamptz '2026-01-10');
    insert into dead_letters (route, event_id, state, reason, detail, attempts, died_at, group_id,
                              grouped_at)
    values ('one', sha256('3'), 'dead', 'rejected', 'no', 1, timestamptz '2026-01-11',
            'aaaaaaaaaaaa', timestamptz '2026-01-11'),
           ('one', sha256('4'), 'dead', 'conflict', 'another body', 0, timestamptz '2026-01-12',
            null, null),
           ('one', sha256('6'), 'discarded', 'undecodable', 'junk', 0, timestamptz '2026-01-13',
            null, null);
    insert into earlier_deaths (dead_letter, died_at, reason, detail, attempts, replayed_by)
    select id, timestamptz '2026-01-01', 'rejected', 'before', 1, 'ada' from dead_letters
    where reason = 'rejected';
    insert into open_receipts (route, receipt_id, instance, number)
    values ('one', '00000000-0000-7000-8000-0000000000bb',
            '00000000-0000-7000-8000-0000000000ff', 91);
    insert into begini_scores values
        (sha256('1'), 'i', 'u1', 'k', 'p', 7, 'A', 'high', 1, 2, 3, '{}'),
        (sha256('7'), 'i', 'u7', 'k', null, 8, null, null, null, null, null, '{\"a\":1}');
    insert into begini_score_traits values
        (sha256('1'), 0, 'k0', '1.50', 'A', '{}'), (sha256('1'), 1, 'k1', '2', null, '{}');
    insert into begini_applications values
        (sha256('7'), 'i', 'u7', 's', 1, null, '{}', null, '{}');";

/// The tables whose rows have the event in a column, and the names of their other columns.
const TABLES: [(&str, &str); 8] = [
    ("claims", "route, state, attempts, claimed_at, settled_at"),
    (
        "receipts",
        "route, receipt_id, outcome, key_id, instance, number, traceparent, received_at, \
         settled_at, other_digest",
    ),
    ("attempts", "route, attempt, outcome, error, took_ms, at"),
    (
        "retries",
        "route, attempt, attempts_before, not_before, queued_at, deferred_attempt, \
         deferred_reason, deferred_since",
    ),
    (
        "dead_letters",
        "id, route, state, reason, detail, attempts, died_at, group_id, grouped_at",
    ),
    (
        "begini_scores",
        "integration_id, uid, kind, platform, score, risk_band, score_confidence, \
         application_started_at, application_completed_at, scored_at, other",
    ),
    (
        "begini_score_traits",
        "position, key, value, risk_band, other",
    ),
    (
        "begini_applications",
        "integration_id, uid, status, started_at, ended_at, percentages, reasons, other",
    ),
];

const EVENTS: &str = "source, topic, content_digest, body, seal, received_at, created_at";

/// Creates a database of schema 10 with the rows.
async fn by_id() -> (Database, PgConnection) {
    let database = Database::create().await.unwrap();
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    MIGRATIONS.run_to(BY_ID, &mut connection).await.unwrap();
    connection.execute(ROWS).await.unwrap();
    (database, connection)
}

/// Returns all rows as texts, by table. Each text begins with the first 16 bytes of the id of the
/// row's event, so the texts are the same before and after the events are numbered.
async fn rows(
    connection: &mut PgConnection,
    by_number: bool,
) -> BTreeMap<&'static str, Vec<String>> {
    let mut found = BTreeMap::new();
    for (table, columns) in TABLES {
        let of = if by_number {
            format!("{table} join events on events.number = {table}.event")
        } else {
            format!("{table} join events using (event_id)")
        };
        let columns: Vec<String> = columns
            .split(", ")
            .map(|it| format!("{table}.{it}"))
            .collect();
        let query = format!(
            "select row(substring(events.event_id from 1 for 16), {})::text from {of} order by 1",
            columns.join(", ")
        );
        found.insert(table, texts(connection, query).await);
    }
    let events = if by_number {
        "events join bodies on bodies.event = events.number"
    } else {
        "events"
    };
    let query = format!(
        "select row(substring(event_id from 1 for 16), {EVENTS})::text from {events} order by 1"
    );
    found.insert("events", texts(connection, query).await);
    for table in ["earlier_deaths", "open_receipts"] {
        let query = format!("select {table}::text from {table} order by 1");
        found.insert(table, texts(connection, query).await);
    }
    found
}

async fn texts(connection: &mut PgConnection, query: String) -> Vec<String> {
    let rows = sqlx::query(AssertSqlSafe(query))
        .fetch_all(connection)
        .await;
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn version(connection: &mut PgConnection) -> i64 {
    let query = "select max(version) from _sqlx_migrations";
    sqlx::query_scalar(query)
        .fetch_one(connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn rows_of_every_kind_keep_their_event() {
    let (database, mut connection) = by_id().await;
    let before = rows(&mut connection, false).await;
    assert!(before.values().all(|rows| !rows.is_empty()), "{before:#?}");
    migrate(database.options(&environment())).await.unwrap();
    assert_eq!(rows(&mut connection, true).await, before);
    // The numbers must follow the times at which the events were received.
    let in_order = "select topic from events order by number";
    let topics = texts(&mut connection, in_order.to_owned()).await;
    let newest_last: Vec<String> = (1..=7).rev().map(|n| format!("begini.t{n}")).collect();
    assert_eq!(topics, newest_last);
    // The table must know the last number, so that the next event gets a higher one.
    let next = "insert into events (event_id, source, topic, content_digest, received_at)
                values (decode(repeat('ab', 16), 'hex'), 's', 's.t', sha256('d'), now())
                returning number::text";
    assert_eq!(texts(&mut connection, next.to_owned()).await, ["8"]);
    let store = Postgres::open(database.options(&environment()))
        .await
        .unwrap();
    // Earlier versions showed ids with 64 digits, and such an id must still find its event.
    let id = texts(
        &mut connection,
        "select encode(sha256('2'), 'hex')".to_owned(),
    )
    .await;
    let shown = store.event(&id[0]).await.unwrap().unwrap();
    assert_eq!((shown.attempts.len(), shown.retries.len()), (2, 1));
    assert_eq!(&*shown.body, b"body 2");
    Store::close(&store).await;
}

/// Cuts the connection of the migration while it runs one of its files, for each file in turn, and
/// then migrates again.
#[tokio::test]
async fn a_migration_that_is_cut_in_any_file_continues() {
    for (file, table) in [
        (11, "begini_applications"),
        (12, "receipts"),
        (13, "dead_letters"),
        (14, "begini_applications"),
    ] {
        let (database, mut connection) = by_id().await;
        let before = rows(&mut connection, false).await;
        // A transaction that has read the table makes the migration wait in this file.
        MIGRATIONS.run_to(file - 1, &mut connection).await.unwrap();
        let mut reader = PgConnection::connect(database.url()).await.unwrap();
        let mut reading = reader.begin().await.unwrap();
        let read = format!("select from {table}");
        reading.execute(AssertSqlSafe(read)).await.unwrap();
        let waiting = "select pg_terminate_backend(pid) from pg_stat_activity
                       where wait_event_type = 'Lock' and datname = current_database()";
        let cut = eventually("the migration must wait for the locked table", || async {
            let mut other = PgConnection::connect(database.url()).await.unwrap();
            let cut: Vec<bool> = sqlx::query_scalar(waiting)
                .fetch_all(&mut other)
                .await
                .unwrap();
            match cut.as_slice() {
                [] => Err("the migration does not wait for a lock yet".to_owned()),
                _ => Ok(()),
            }
        });
        let (migrated, ()) = tokio::join!(migrate(database.options(&environment())), cut);
        migrated.unwrap_err();
        reading.rollback().await.unwrap();
        assert_eq!(version(&mut connection).await, file - 1);
        let refused = Postgres::open(database.options(&environment()))
            .await
            .unwrap_err();
        assert!(
            matches!(refused, OpenError::SchemaOlder { .. }),
            "{refused}"
        );
        migrate(database.options(&environment())).await.unwrap();
        assert_eq!(rows(&mut connection, true).await, before, "file {file}");
    }
}

#[tokio::test]
async fn what_cannot_be_numbered_is_refused_and_unchanged() {
    for (spoiled, said) in [
        (
            "create view mine as select event_id from events",
            "view public.mine",
        ),
        (
            "create trigger theirs before insert on events
                 for each row execute function suppress_redundant_updates_trigger()",
            "theirs",
        ),
        (
            "insert into events (event_id, source, topic, content_digest, body, received_at)
             select substring(sha256('1') from 1 for 16) || substring(sha256('2') from 1 for 16),
                    's', 's.t', sha256('d'), '', now()",
            "unique",
        ),
    ] {
        let (database, mut connection) = by_id().await;
        let before = rows(&mut connection, false).await;
        connection.execute(AssertSqlSafe(spoiled)).await.unwrap();
        let refused = migrate(database.options(&environment())).await.unwrap_err();
        let text = describe(&refused);
        assert!(text.contains(said), "{text}");
        assert_eq!(version(&mut connection).await, BY_ID);
        let after = rows(&mut connection, false).await;
        assert_eq!(after["claims"], before["claims"]);
        let undo = "drop view if exists mine; drop trigger if exists theirs on events;
                    delete from events where source = 's'";
        connection.execute(undo).await.unwrap();
        migrate(database.options(&environment())).await.unwrap();
        assert_eq!(rows(&mut connection, true).await, before);
    }
}

/// A role that may use the tables of schema 10 must have the same rights on the tables that replace
/// them.
#[tokio::test]
async fn rights_are_given_on_the_new_tables() {
    let (database, mut connection) = by_id().await;
    let role = format!("numbering_{}", database.name());
    let grants = format!(
        "create role {role};
         grant select, insert on events to {role};
         grant select, insert, update on claims, receipts to {role};
         grant select on retries, attempts, begini_scores to {role} with grant option"
    );
    connection.execute(AssertSqlSafe(grants)).await.unwrap();
    let given = format!(
        "select table_name || ' ' || privilege_type || ' ' || is_grantable
         from information_schema.role_table_grants where grantee = '{role}' order by 1"
    );
    let before = texts(&mut connection, given.clone()).await;
    migrate(database.options(&environment())).await.unwrap();
    let mut expect = before;
    // Migration 11 creates the table `bodies`, 16 `targets`, 17 `route_controls`, 18 `ends` and its
    // view, and 19 `newest`. Migration 19 also grants the rights on the tables of the witness.
    let new = [
        "bodies INSERT NO",
        "bodies SELECT NO",
        "ends INSERT NO",
        "ends SELECT NO",
        "hookbox_ends SELECT NO",
        "incarnations SELECT YES",
        "newest SELECT YES",
        "route_controls SELECT YES",
        "targets SELECT YES",
        "witness SELECT YES",
    ];
    expect.extend(new.map(str::to_owned));
    expect.sort_unstable();
    let mut after = texts(&mut connection, given).await;
    after.sort_unstable();
    let gone = format!("drop owned by {role}; drop role {role}");
    connection.execute(AssertSqlSafe(gone)).await.unwrap();
    assert_eq!(after, expect);
}
