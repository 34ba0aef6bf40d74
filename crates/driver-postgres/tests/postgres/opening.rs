//! Tests which databases are refused when they are opened, and that nothing is changed in a
//! database that is refused.

use std::time::Duration;

use hookbox_driver::{OpenError, Store};
use hookbox_driver_postgres::testing::Database;
use hookbox_driver_postgres::{Migrated, Options, Postgres, migrate, plan};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

use crate::world::{World, environment};

async fn execute(database: &Database, statement: &str) {
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    connection.execute(AssertSqlSafe(statement)).await.unwrap();
}

async fn tables(database: &Database) -> Vec<String> {
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = 'public' order by 1",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap()
}

fn other(database: &Database) -> Options {
    database.options(&"production".parse().unwrap())
}

#[tokio::test]
async fn an_empty_database_is_refused_until_it_is_migrated() {
    let database = Database::create().await.unwrap();
    let options = database.options(&environment());
    let planned = plan(options.clone()).await.unwrap();
    let refused = Postgres::open(options.clone()).await.unwrap_err();
    assert!(
        matches!(refused, OpenError::SchemaOlder { found: 0, wanted } if wanted == planned.to),
        "{refused}"
    );
    assert_eq!(tables(&database).await, Vec::<String>::new());

    assert_eq!(planned.from, 0);
    assert_eq!(migrate(options.clone()).await.unwrap(), planned);
    Postgres::open(options.clone()).await.unwrap();
    let nothing = Migrated {
        from: planned.to,
        to: planned.to,
    };
    assert_eq!(plan(options.clone()).await.unwrap(), nothing);
    assert_eq!(migrate(options).await.unwrap(), nothing);
}

#[tokio::test]
async fn an_older_schema_is_refused() {
    let world = World::new().await;
    let options = world.database.options(&environment());
    let newest = plan(options.clone()).await.unwrap().to;
    world
        .execute(
            "delete from _sqlx_migrations
             where version = (select max(version) from _sqlx_migrations)",
        )
        .await;
    let refused = Postgres::open(options).await.unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::SchemaOlder { found, wanted } if found < wanted && wanted == newest
        ),
        "{refused}"
    );
    assert!(refused.to_string().contains("hookbox migrate"), "{refused}");
}

/// Records a migration that this hookbox does not know, as a newer hookbox would.
const TOMORROW: &str =
    "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
     values (9999, 'tomorrow', true, '', 0)";

#[tokio::test]
async fn a_newer_schema_that_only_added_is_worked_on() {
    let world = World::new().await;
    let options = world.database.options(&environment());
    world.execute(TOMORROW).await;
    let store = Postgres::open(options.clone()).await.unwrap();
    store.ping().await.unwrap();
    store.close().await;
    let nothing = Migrated {
        from: 9999,
        to: 9999,
    };
    assert_eq!(plan(options.clone()).await.unwrap(), nothing);
    assert_eq!(migrate(options).await.unwrap(), nothing);
}

#[tokio::test]
async fn a_newer_schema_that_removed_something_is_refused_by_all() {
    let world = World::new().await;
    let options = world.database.options(&environment());
    world.execute(TOMORROW).await;
    world
        .execute("update meta set value = '9999' where key = 'works_from'")
        .await;
    for refused in [
        Postgres::open(options.clone()).await.unwrap_err(),
        plan(options.clone()).await.unwrap_err(),
        migrate(options).await.unwrap_err(),
    ] {
        assert!(
            matches!(refused, OpenError::SchemaNewer { found: 9999, .. }),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn another_environment_is_refused_before_anything_is_changed() {
    let database = Database::create().await.unwrap();
    migrate(database.options(&environment())).await.unwrap();
    // Remove the newest migration, so that `migrate` would have something to do. A call for another
    // environment fails, and must not run this migration.
    execute(
        &database,
        "drop table newest; delete from _sqlx_migrations
         where version = (select max(version) from _sqlx_migrations)",
    )
    .await;
    let before = tables(&database).await;
    for refused in [
        migrate(other(&database)).await.unwrap_err(),
        plan(other(&database)).await.unwrap_err(),
        Postgres::open(other(&database)).await.unwrap_err(),
    ] {
        let OpenError::Environment { found, wanted, .. } = &refused else {
            panic!("{refused}")
        };
        assert_eq!((found.as_str(), wanted.as_str()), ("test", "production"));
    }
    assert_eq!(tables(&database).await, before);
}

#[tokio::test]
async fn a_migrated_database_stays_with_its_environment() {
    let world = World::new().await;
    let refused = Postgres::open(other(&world.database)).await.unwrap_err();
    assert!(
        matches!(refused, OpenError::Environment { .. }),
        "{refused}"
    );
    world.execute("delete from meta").await;
    let refused = Postgres::open(world.database.options(&environment()))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("stamp"), "{refused}");
}

#[tokio::test]
async fn another_programs_database_is_refused() {
    let database = Database::create().await.unwrap();
    execute(
        &database,
        "create table _sqlx_migrations (version bigint primary key, description text not null,
             installed_on timestamptz not null default now(), success boolean not null,
             checksum bytea not null, execution_time bigint not null);
         insert into _sqlx_migrations values (1, 'theirs', now(), true, '', 0)",
    )
    .await;
    let refused = migrate(database.options(&environment())).await.unwrap_err();
    assert!(refused.to_string().contains("another program"), "{refused}");
    assert_eq!(tables(&database).await, ["_sqlx_migrations"]);
}

#[tokio::test]
async fn two_migrators_at_once_do_it_once() {
    let database = Database::create().await.unwrap();
    let one = || migrate(database.options(&environment()));
    let (a, b, c, d) = tokio::join!(one(), one(), one(), one());
    let migrated = [a.unwrap(), b.unwrap(), c.unwrap(), d.unwrap()];
    let from_empty = migrated
        .iter()
        .filter(|migrated| migrated.from == 0)
        .count();
    assert_eq!(from_empty, 1, "{migrated:?}");
    Postgres::open(database.options(&environment()))
        .await
        .unwrap();
}

#[tokio::test]
async fn of_two_environments_at_once_one_gets_the_database() {
    let database = Database::create().await.unwrap();
    let (ours, theirs) = tokio::join!(
        migrate(database.options(&environment())),
        migrate(other(&database))
    );
    let refused = match (ours, theirs) {
        (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => refused,
        both => panic!("{both:?}"),
    };
    assert!(
        matches!(refused, OpenError::Environment { .. }),
        "{refused}"
    );
}

#[tokio::test]
async fn a_read_only_database_is_refused() {
    let world = World::new().await;
    let name = world.database.name();
    world
        .execute(&format!(
            "alter database {name} set default_transaction_read_only = on"
        ))
        .await;
    let refused = Postgres::open(world.database.options(&environment()))
        .await
        .unwrap_err();
    assert!(matches!(refused, OpenError::Unsafe { .. }), "{refused}");
    assert!(refused.to_string().contains("read-only"), "{refused}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let mut options = Options::new("postgres://user@127.0.0.1:1/nothing", environment());
    options.connect_deadline = Duration::from_secs(2);
    for refused in [
        Postgres::open(options.clone()).await.unwrap_err(),
        migrate(options).await.unwrap_err(),
    ] {
        assert!(
            matches!(refused, OpenError::Unavailable { .. }),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn sessions_have_the_promised_settings_whatever_the_database_sets() {
    let world = World::new().await;
    let name = world.database.name();
    for setting in [
        "synchronous_commit = off",
        "default_transaction_isolation = 'serializable'",
        "statement_timeout = 0",
        "lock_timeout = 0",
    ] {
        world
            .execute(&format!("alter database {name} set {setting}"))
            .await;
    }
    let store = Postgres::open(world.database.options(&environment()))
        .await
        .unwrap();
    let mut tx = store.begin().await.unwrap();
    let row = sqlx::query(
        "select current_setting('synchronous_commit'), current_setting('transaction_isolation'),
                current_setting('statement_timeout'), current_setting('lock_timeout'),
                current_setting('idle_in_transaction_session_timeout'),
                coalesce(current_setting('client_connection_check_interval', true), '2s'),
                current_setting('application_name')",
    )
    .fetch_one(store.connection(&mut tx))
    .await
    .unwrap();
    let settings: Vec<String> = (0..row.len()).map(|column| row.get(column)).collect();
    let promised = ["on", "read committed", "35s", "5s", "35s", "2s", "hookbox"];
    assert_eq!(settings, promised);
    store.rollback(tx).await;
}
