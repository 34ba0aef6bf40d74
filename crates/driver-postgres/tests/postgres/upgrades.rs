//! Tests of the migration from the first version of hookbox: what it refuses before it changes
//! anything, how long it may take, and what the server does when its client has gone.

use std::time::Duration;

use hookbox_driver::{OpenError, Store, describe};
use hookbox_driver_postgres::testing::Database;
use hookbox_driver_postgres::{Options, Postgres, migrate, plan};
use hookbox_testkit::eventually::{eventually, promised};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::world::environment;

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/postgres");

/// The schema version of the first version of hookbox.
const FIRST: i64 = 5;

/// The rows of an event with a dead letter.
const ROWS: &str = "
    insert into meta values ('environment', 'test');
    insert into events (event_id, source, topic, content_digest, body, received_at)
    values (sha256('1'), 's', 's.t', sha256('d'), '', now());
    insert into claims (route, event_id, state, attempts)
    values ('one', sha256('1'), 'dead', 1);
    insert into dead_letters (route, event_id, state, reason, detail, attempts)
    values ('one', sha256('1'), 'dead', 'rejected', 'no', 1)";

/// Creates a database of the first version, whose tables belong to the role of the connection.
async fn first_version(connection: &mut PgConnection) {
    MIGRATIONS.run_to(FIRST, &mut *connection).await.unwrap();
    connection.execute(ROWS).await.unwrap();
}

/// Returns the schema version, and the oldest version that may use the database if it is recorded.
async fn versions(connection: &mut PgConnection) -> (i64, Option<String>) {
    let query = "select max(version), (select value from meta where key = 'works_from')
                 from _sqlx_migrations";
    sqlx::query_as(query).fetch_one(connection).await.unwrap()
}

/// Returns the text of the error with which both `plan` and `migrate` refuse the database. Neither
/// may change anything.
async fn refusal(options: &Options, connection: &mut PgConnection) -> String {
    let planned = plan(options.clone()).await.unwrap_err();
    let refused = migrate(options.clone()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Refused { .. }), "{refused:?}");
    assert_eq!(describe(&planned), describe(&refused));
    assert_eq!(versions(connection).await, (FIRST, None));
    describe(&refused)
}

/// What a user may have created on the tables: the statement that creates it, the name under which
/// it is refused, and the statement that drops it.
const OF_USER: [(&str, &str, &str); 9] = [
    (
        "create view mine as select * from begini_scores",
        "view public.mine",
        "drop view mine",
    ),
    (
        "create materialized view mine as select route from attempts",
        "materialized view public.mine",
        "drop materialized view mine",
    ),
    (
        "create view mine as select count(*) from receipts",
        "view public.mine",
        "drop view mine",
    ),
    (
        "create view mine as select event_id from dead_letters",
        "view public.mine",
        "drop view mine",
    ),
    (
        "create trigger mine before update on retries
             for each row execute function suppress_redundant_updates_trigger()",
        "trigger mine on public.retries",
        "drop trigger mine on retries",
    ),
    (
        "create trigger mine before update on dead_letters
             for each row execute function suppress_redundant_updates_trigger()",
        "trigger mine on public.dead_letters",
        "drop trigger mine on dead_letters",
    ),
    (
        "create table mine (id bytea constraint mine_of_event references events)",
        "table constraint mine_of_event on public.mine",
        "drop table mine",
    ),
    (
        "create function mine(claims) returns text language sql as 'select $1.state'",
        "function public.mine(public.claims)",
        "drop function mine(claims)",
    ),
    (
        "create table mine (held claims[])",
        "table column public.mine.held",
        "drop table mine",
    ),
];

/// Each migration is committed separately. Without the check before the first one, migrations 6 to
/// 13 would be committed, and the fourteenth would fail because of the first of these views.
#[tokio::test]
async fn what_a_user_has_created_on_the_tables_is_refused_before_any_migration() {
    let database = Database::create().await.unwrap();
    let options = database.options(&environment());
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    first_version(&mut connection).await;
    for (create, name, remove) in OF_USER {
        connection.execute(create).await.unwrap();
        let said = refusal(&options, &mut connection).await;
        assert!(said.contains(name), "{create}: {said}");
        assert!(said.contains("drop these objects"), "{said}");
        connection.execute(remove).await.unwrap();
    }
    // All objects are named at once.
    let two = "create view one as select * from events; create view two as select * from claims";
    connection.execute(two).await.unwrap();
    let said = refusal(&options, &mut connection).await;
    assert!(said.contains("view public.one, view public.two"), "{said}");
    let remove = "drop view one; drop view two";
    connection.execute(remove).await.unwrap();

    // The migrations keep these objects, or drop them with the table, as the manual says.
    let harmless = "create view mine as select id, reason from dead_letters;
                    create index mine_of_claims on claims (state);
                    alter table receipts add check (number >= 0);
                    create table other (id int); create view others as select * from other";
    connection.execute(harmless).await.unwrap();
    let migrated = migrate(options).await.unwrap();
    assert_eq!(migrated.from, FIRST);
    let kept: i64 = sqlx::query_scalar("select count(*) from mine")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(kept, 1);
    connection.close().await.unwrap();
}

/// A superuser could migrate the tables of every role. The tables that a migration creates would
/// then belong to the superuser, and the role of the services, which owns the others, could not use
/// them.
#[tokio::test]
async fn a_migration_by_another_role_than_the_owner_is_refused() {
    let database = Database::create().await.unwrap();
    let mut superuser = PgConnection::connect(database.url()).await.unwrap();
    let role = format!("owner_{}", database.name());
    let create = format!(
        "create role {role} login password 'right'; grant create on schema public to {role}"
    );
    superuser.execute(AssertSqlSafe(create)).await.unwrap();
    let (_, server) = database.url().rsplit_once('@').unwrap();
    let of_owner = Options::new(format!("postgres://{role}:right@{server}"), environment());
    let mut owner = PgConnection::connect(&of_owner.url).await.unwrap();
    first_version(&mut owner).await;
    let by_superuser = refusal(&database.options(&environment()), &mut superuser).await;
    assert!(
        by_superuser.contains(&format!("run `hookbox migrate` as role {role}")),
        "{by_superuser}"
    );

    // One of the tables belongs to another role, and the remedy must make the owner of the others
    // its owner.
    let take = "alter table audit owner to current_user";
    superuser.execute(take).await.unwrap();
    let by_owner = refusal(&of_owner, &mut superuser).await;
    let give = format!("ALTER TABLE audit OWNER TO {role}");
    assert!(by_owner.ends_with(&give), "{by_owner}");
    superuser.execute(AssertSqlSafe(give)).await.unwrap();

    assert_eq!(migrate(of_owner.clone()).await.unwrap().from, FIRST);
    let of_others = "select count(*) from pg_tables
                     where schemaname = 'public' and tableowner <> current_user";
    let of_others: i64 = sqlx::query_scalar(of_others)
        .fetch_one(&mut owner)
        .await
        .unwrap();
    assert_eq!(of_others, 0);
    let store = Postgres::open(of_owner).await.unwrap();
    Store::close(&store).await;
    owner.close().await.unwrap();
    let gone = format!("drop owned by {role}; drop role {role}");
    superuser.execute(AssertSqlSafe(gone)).await.unwrap();
    superuser.close().await.unwrap();
}

/// Returns a session that has read `events` in a transaction, so that the migration of this table
/// waits until the session ends.
async fn reader(database: &Database) -> PgConnection {
    let mut reader = PgConnection::connect(database.url()).await.unwrap();
    reader
        .execute("begin; select from events limit 1")
        .await
        .unwrap();
    reader
}

/// The server process of the session that waits for a lock.
const WAITING: &str = "select pid from pg_stat_activity
     where datname = current_database() and wait_event_type = 'Lock'";

/// The next migration waits for the lock of this one. So when the client has gone, the server must
/// notice it during the statement and not only when it sends the answer. Without that, it would end
/// this session after the 30 s that a migration waits for the lock of a table.
#[tokio::test]
async fn a_migration_whose_client_has_gone_ends_within_seconds() {
    let database = Database::create().await.unwrap();
    let options = database.options(&environment());
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    first_version(&mut connection).await;
    let reader = reader(&database).await;
    let waits = eventually("the migration must wait for the table", async || {
        let waiting: Option<i32> = sqlx::query_scalar(WAITING)
            .fetch_optional(&mut connection)
            .await
            .unwrap();
        waiting.ok_or("the migration does not wait for a lock yet")
    });
    let process = tokio::select! {
        migrated = migrate(options.clone()) => panic!("{migrated:?}"),
        process = waits => process,
    };
    promised(
        Duration::from_secs(10),
        "the server must end the session of the migration",
        async || {
            let left: i64 =
                sqlx::query_scalar("select count(*) from pg_stat_activity where pid = $1")
                    .bind(process)
                    .fetch_one(&mut connection)
                    .await
                    .unwrap();
            left == 0
        },
    )
    .await;
    reader.close().await.unwrap();
    migrate(options).await.unwrap();
    connection.close().await.unwrap();
}

/// Sets limits of 2 s for all later sessions in the database, among them the one that only
/// PostgreSQL 17 and later know.
const LIMITS: &str = "do $$
    declare
        found text;
    begin
        for found in
            select name from pg_settings
            where name in ('statement_timeout', 'idle_in_transaction_session_timeout',
                           'transaction_timeout')
        loop
            execute format('alter database %I set %I = ''2s''', current_database(), found);
        end loop;
    end
    $$";

/// A migration of a large table takes longer than the limits that suit other sessions. Here it
/// takes long because it waits for a lock.
#[tokio::test]
async fn a_migration_outlasts_the_limits_of_the_database() {
    let database = Database::create().await.unwrap();
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    first_version(&mut connection).await;
    let reader = reader(&database).await;
    connection.execute(LIMITS).await.unwrap();
    let outlasts = async {
        let waiting = "select exists (select from pg_stat_activity
                           where datname = current_database() and wait_event_type = 'Lock'
                             and clock_timestamp() - xact_start > interval '3 s')";
        eventually("the migration must outlast the limits", async || {
            let waits: bool = sqlx::query_scalar(waiting)
                .fetch_one(&mut connection)
                .await
                .unwrap();
            waits
        })
        .await;
        reader.close().await.unwrap();
    };
    let (migrated, ()) = tokio::join!(migrate(database.options(&environment())), outlasts);
    assert_eq!(migrated.unwrap().from, FIRST);
}

/// Records the settings of every session that creates a table.
const RECORD: &str = "
    create table seen (settings text[]);
    create function note_settings() returns event_trigger language plpgsql as $$
    begin
        insert into seen values (array[
            current_setting('statement_timeout'),
            coalesce(current_setting('transaction_timeout', true), '0'),
            current_setting('idle_in_transaction_session_timeout'),
            coalesce(current_setting('client_connection_check_interval', true), '2s'),
            -- A socket has no such setting, and shows 0.
            coalesce(nullif(current_setting('tcp_keepalives_idle'), '0'), '60')]);
    end
    $$;
    create event trigger note_settings on ddl_command_end when tag in ('CREATE TABLE')
        execute function note_settings()";

#[tokio::test]
async fn the_session_of_a_migration_has_settings_of_its_own() {
    let database = Database::create().await.unwrap();
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    connection.execute(RECORD).await.unwrap();
    connection.execute(LIMITS).await.unwrap();
    migrate(database.options(&environment())).await.unwrap();
    let seen: Vec<Vec<String>> = sqlx::query_scalar("select distinct settings from seen")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    assert_eq!(seen, [["0", "0", "1min", "2s", "60"]]);
}
