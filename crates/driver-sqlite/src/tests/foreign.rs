//! A file that belongs to another program must be refused and not changed.

use super::*;
use crate::plan;
use hookbox_driver::OpenError;

/// Each case has the statements with which another program has created its file, and a part of the
/// error that hookbox must return.
const CASES: [(&str, &str); 4] = [
    (
        "create table _sqlx_migrations (version bigint primary key, description text not null,
            installed_on timestamp not null default current_timestamp, success boolean not null,
            checksum blob not null, execution_time bigint not null);
         insert into _sqlx_migrations (version, description, success, checksum, execution_time)
            values (20240101000000, 'init', true, x'00', 1);
         create table orders (n integer)",
        "lists migration 20240101000000 as \"init\"",
    ),
    (
        "create table _sqlx_migrations (id integer)",
        "has tables that hookbox did not create",
    ),
    (
        "create table Accounts (name text); insert into accounts values ('theirs')",
        "already has accounts",
    ),
    (
        "create table orders (n integer); create index messages_queue on orders (n)",
        "already has messages_queue",
    ),
];

#[tokio::test]
async fn another_programs_file_is_refused_and_not_changed() {
    for (statements, words) in CASES {
        let world = World::new();
        make(&world, statements).await;
        let before = std::fs::read(world.path()).unwrap();
        for refused in [
            plan(world.options()).await.unwrap_err(),
            migrate(world.options()).await.unwrap_err(),
        ] {
            assert!(matches!(refused, OpenError::Refused { .. }), "{refused}");
            let said = refused.to_string();
            assert!(said.contains(words), "{said}");
            assert!(said.contains(world.path().to_str().unwrap()), "{said}");
        }
        assert!(Sqlite::open(world.options()).await.is_err(), "{words}");
        assert_eq!(std::fs::read(world.path()).unwrap(), before, "{words}");
        world.end().await;
    }
}

/// The number of the other program's migration is higher than all of hookbox's. The error must name
/// that migration, and not report the schema of a newer hookbox.
#[tokio::test]
async fn another_programs_version_is_not_compared() {
    let world = World::new();
    let (statements, words) = CASES[0];
    make(&world, statements).await;
    let refused = Sqlite::open(world.options()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Refused { .. }), "{refused}");
    assert!(refused.to_string().contains(words), "{refused}");
    world.end().await;
}

/// Creates a file with these statements, as another program does.
async fn make(world: &World, statements: &'static str) {
    let empty = SqliteConnectOptions::new()
        .filename(world.path())
        .create_if_missing(true);
    let mut connection = empty.connect().await.unwrap();
    sqlx::raw_sql(statements)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}
