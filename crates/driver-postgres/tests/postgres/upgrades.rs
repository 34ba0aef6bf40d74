//! Tests of the migration from the first version of hookbox: what it refuses before it changes
//! anything.

use hookbox_driver::{OpenError, Store, describe};
use hookbox_driver_postgres::testing::Database;
use hookbox_driver_postgres::{Options, Postgres, migrate, plan};
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
