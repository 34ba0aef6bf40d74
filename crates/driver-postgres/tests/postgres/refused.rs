//! Tests what happens when a server refuses something: the class of the error, the statement in it
//! that fixes the cause, and that nothing was changed.

use hookbox_driver::{OpenError, describe};
use hookbox_driver_postgres::testing::Database;
use hookbox_driver_postgres::{Options, Postgres, migrate, plan};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::world::{World, environment};

/// A role that one test uses alone, and that is dropped with this value.
struct Role {
    name: String,
    database: Database,
}

impl Role {
    async fn new(database: Database, attributes: &str) -> Self {
        let name = format!("role_of_{}", database.name());
        let role = Self { name, database };
        let create = format!("create role {} {attributes} password 'right'", role.name);
        role.execute(&create).await;
        role
    }

    async fn execute(&self, statements: &str) {
        let mut connection = PgConnection::connect(self.database.url()).await.unwrap();
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        connection.execute(statements).await.unwrap();
        connection.close().await.unwrap();
    }

    /// Returns options with this role in the URL.
    fn options(&self, password: &str) -> Options {
        let (_, server) = self.database.url().rsplit_once('@').unwrap();
        let url = format!("postgres://{}:{password}@{server}", self.name);
        Options::new(url, environment())
    }

    async fn end(self) {
        let name = &self.name;
        self.execute(&format!("drop owned by {name}; drop role {name}"))
            .await;
    }
}

/// Returns the whole text of an error, which must say that PostgreSQL refuses hookbox.
#[track_caller]
fn text(refused: &OpenError) -> String {
    assert!(
        matches!(refused, OpenError::Refused { .. }),
        "the error must be OpenError::Refused: {refused:?}"
    );
    let text = describe(refused);
    assert!(!text.contains("at line"), "{text}");
    assert!(!text.contains("cannot be reached"), "{text}");
    assert!(
        !text.contains("right:"),
        "the error must not show the password: {text}"
    );
    text
}

async fn tables(database: &Database) -> Vec<String> {
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let query = "select relname::text from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'v') order by 1";
    sqlx::query_scalar(query)
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

/// Returns the errors of `migrate`, `plan` and `open`, which must all fail.
async fn refusals(options: &Options) -> [OpenError; 3] {
    [
        migrate(options.clone()).await.unwrap_err(),
        plan(options.clone()).await.unwrap_err(),
        Postgres::open(options.clone()).await.unwrap_err(),
    ]
}

#[tokio::test]
async fn a_wrong_password_is_refused_by_name() {
    let role = Role::new(Database::create().await.unwrap(), "login").await;
    for refused in refusals(&role.options("wrong")).await {
        let text = text(&refused);
        let remedy = format!("ALTER ROLE {} PASSWORD", role.name);
        assert!(text.contains(&remedy), "{text}");
    }
    role.end().await;
}

#[tokio::test]
async fn a_role_that_may_not_log_in_is_refused_by_name() {
    let role = Role::new(Database::create().await.unwrap(), "nologin").await;
    for refused in refusals(&role.options("right")).await {
        let text = text(&refused);
        assert!(
            text.contains(&format!("ALTER ROLE {} LOGIN", role.name)),
            "{text}"
        );
    }
    role.end().await;
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_refused_with_the_statement_that_makes_it() {
    let database = Database::create().await.unwrap();
    let url = database.url().replace(database.name(), "nowhere");
    for refused in refusals(&Options::new(url, environment())).await {
        let text = text(&refused);
        assert!(text.contains("CREATE DATABASE nowhere"), "{text}");
        assert!(text.contains("ENCODING 'UTF8'"), "{text}");
    }
}

#[tokio::test]
async fn a_role_without_connect_is_refused_with_the_grant() {
    let role = Role::new(Database::create().await.unwrap(), "login").await;
    let database = role.database.name().to_owned();
    role.execute(&format!(
        "revoke connect on database {database} from public"
    ))
    .await;
    for refused in refusals(&role.options("right")).await {
        let text = text(&refused);
        let grant = format!("GRANT CONNECT ON DATABASE {database} TO {}", role.name);
        assert!(text.contains(&grant), "{text}");
    }
    role.end().await;
}

/// Since version 15, PostgreSQL lets only the owner of a database create tables in its schema
/// `public`. The test revokes that right from all other roles, so that an older server behaves in
/// the same way.
#[tokio::test]
async fn a_role_without_create_is_refused_with_the_grant_that_lets_it_migrate() {
    let role = Role::new(Database::create().await.unwrap(), "login").await;
    role.execute("revoke create on schema public from public")
        .await;
    let options = role.options("right");
    let grant = format!("GRANT CREATE ON SCHEMA public TO {}", role.name);
    for refused in [
        migrate(options.clone()).await.unwrap_err(),
        plan(options.clone()).await.unwrap_err(),
    ] {
        let text = text(&refused);
        assert!(text.contains(&grant), "{text}");
    }
    assert_eq!(tables(&role.database).await, Vec::<String>::new());
    role.execute(&grant).await;
    migrate(options).await.unwrap();
    role.end().await;
}

#[tokio::test]
async fn a_role_that_only_runs_is_refused_with_all_the_grants_it_lacks() {
    let world = World::new().await;
    let role = Role::new(world.database, "login").await;
    let options = role.options("right");
    let refused = Postgres::open(options.clone()).await.unwrap_err();
    let OpenError::Refused { remedy, .. } = &refused else {
        panic!("{refused:?}")
    };
    assert!(text(&refused).contains("lacks rights"), "{refused}");
    assert!(
        remedy.contains("GRANT SELECT, INSERT, UPDATE, DELETE ON claims TO"),
        "{remedy}"
    );
    // After the statement that the remedy names has run, PostgreSQL must not refuse hookbox any
    // more.
    role.execute(remedy).await;
    let store = Postgres::open(options).await.unwrap();
    let event = crate::world::envelope(1, 1, "{}");
    let mut tx = hookbox_driver::Store::begin(&store).await.unwrap();
    let route = crate::world::route(crate::world::ROUTE);
    let claimed = hookbox_driver::Store::claim(&store, &mut tx, &route, &[&event]).await;
    assert_eq!(claimed.unwrap(), [hookbox_driver::Claimed::Fresh]);
    hookbox_driver::Store::rollback(&store, tx).await;

    // When a role loses a right while the store is open, the error must name the statement that
    // restores the right.
    role.execute(&format!("revoke insert on events from {}", role.name))
        .await;
    let mut tx = hookbox_driver::Store::begin(&store).await.unwrap();
    let fault = hookbox_driver::Store::claim(&store, &mut tx, &route, &[&event])
        .await
        .unwrap_err();
    let said = describe(&fault);
    assert!(
        said.contains("GRANT") && said.contains(&role.name),
        "{said}"
    );
    assert!(!said.contains("at line"), "{said}");
    hookbox_driver::Store::rollback(&store, tx).await;
    hookbox_driver::Store::close(&store).await;
    role.end().await;
}

/// PostgreSQL skips a schema without USAGE, so the tables in it seem not to exist. A remedy for the
/// schema `public` would change nothing.
#[tokio::test]
async fn a_role_without_usage_of_the_schema_is_refused_with_the_grant() {
    let role = Role::new(Database::create().await.unwrap(), "login").await;
    let (name, database) = (role.name.clone(), role.database.name().to_owned());
    role.execute(&format!(
        "create schema inbox; alter database {database} set search_path = inbox, public"
    ))
    .await;
    migrate(role.database.options(&environment()))
        .await
        .unwrap();
    assert_eq!(tables(&role.database).await, Vec::<String>::new());
    role.execute(&format!(
        "grant select, insert, update, delete on all tables in schema inbox to {name}"
    ))
    .await;
    let options = role.options("right");
    let grant = format!("GRANT USAGE ON SCHEMA inbox TO {name}");
    for refused in refusals(&options).await {
        let text = text(&refused);
        assert!(text.ends_with(&grant), "{text}");
    }
    role.execute(&grant).await;
    let store = Postgres::open(options.clone()).await.unwrap();

    role.execute(&format!("revoke insert on events from {name}"))
        .await;
    let mut tx = hookbox_driver::Store::begin(&store).await.unwrap();
    let route = crate::world::route(crate::world::ROUTE);
    let event = crate::world::envelope(1, 1, "{}");
    let fault = hookbox_driver::Store::claim(&store, &mut tx, &route, &[&event])
        .await
        .unwrap_err();
    let said = describe(&fault);
    assert!(
        said.contains(&format!("ON ALL TABLES IN SCHEMA inbox TO {name}")),
        "{said}"
    );
    hookbox_driver::Store::rollback(&store, tx).await;
    hookbox_driver::Store::close(&store).await;

    role.execute(&format!("revoke select on meta from {name}"))
        .await;
    let refused = Postgres::open(options.clone()).await.unwrap_err();
    let OpenError::Refused { remedy, .. } = &refused else {
        panic!("{refused:?}")
    };
    assert!(
        remedy.contains(&format!("GRANT SELECT ON inbox.meta TO {name}")),
        "{remedy}"
    );
    role.execute(remedy).await;
    let store = Postgres::open(options).await.unwrap();
    hookbox_driver::Store::close(&store).await;
    role.end().await;
}

/// A role with a schema of its own needs no other schema of its `search_path`.
#[tokio::test]
async fn a_role_with_its_own_schema_needs_no_right_on_the_next() {
    let role = Role::new(Database::create().await.unwrap(), "login").await;
    let name = role.name.clone();
    role.execute(&format!(
        "revoke all on schema public from public; create schema {name} authorization {name}"
    ))
    .await;
    migrate(role.options("right")).await.unwrap();
    let store = Postgres::open(role.options("right")).await.unwrap();
    hookbox_driver::Store::close(&store).await;
    role.end().await;
}

#[tokio::test]
async fn another_programs_table_is_refused_before_anything_is_made() {
    let database = Database::create().await.unwrap();
    for (statement, name) in [
        (
            "create table accounts (id int primary key, owner text)",
            "accounts",
        ),
        ("create view events as select 1 as n", "events"),
    ] {
        let role = Role::new(Database::create().await.unwrap(), "login superuser").await;
        role.execute(statement).await;
        let before = tables(&role.database).await;
        for refused in [
            migrate(role.options("right")).await.unwrap_err(),
            plan(role.options("right")).await.unwrap_err(),
        ] {
            let text = text(&refused);
            assert!(text.contains(name) && text.contains("of its own"), "{text}");
        }
        assert_eq!(tables(&role.database).await, before, "{name}");
        role.end().await;
    }
    drop(database);
}

/// A type that has the name of a table makes the fourth migration fail. Then the first three
/// migrations must leave nothing behind.
#[tokio::test]
async fn a_new_database_has_all_migrations_or_none() {
    let database = Database::create().await.unwrap();
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    let in_the_way = "create type starts as enum ('one')";
    connection.execute(in_the_way).await.unwrap();
    let refused = migrate(database.options(&environment())).await.unwrap_err();
    let said = describe(&refused);
    assert!(
        said.contains("starts") && !said.contains("at line"),
        "{said}"
    );
    assert_eq!(tables(&database).await, Vec::<String>::new());
    connection.execute("drop type starts").await.unwrap();
    migrate(database.options(&environment())).await.unwrap();
}

#[tokio::test]
async fn another_encoding_is_refused_with_the_statement_that_makes_the_right_one() {
    let database = Database::create().await.unwrap();
    let mut connection = PgConnection::connect(database.url()).await.unwrap();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("{}_{}", database.name(), encoding.to_lowercase());
        let create =
            format!("create database {name} encoding '{encoding}' locale 'C' template template0");
        connection.execute(AssertSqlSafe(create)).await.unwrap();
        let url = database.url().replace(database.name(), &name);
        for refused in refusals(&Options::new(url, environment())).await {
            let text = text(&refused);
            assert!(text.contains(encoding), "{text}");
            assert!(
                text.contains("ENCODING 'UTF8' TEMPLATE template0"),
                "{text}"
            );
        }
        let forget = format!("drop database {name} with (force)");
        connection.execute(AssertSqlSafe(forget)).await.unwrap();
    }
}
