//! A private database for one test, behind a proxy.

use hookbox_driver_postgres::testing::{Database, SERVER_URL};
use hookbox_driver_postgres::{Options, Postgres, migrate};
use hookbox_event::EnvironmentName;
use hookbox_testkit::proxy::Proxy;
use sqlx::{Connection, PgConnection};

use crate::{random_environment, variable};

pub struct PostgresWorld {
    pub database: Database,
    pub proxy: Proxy,
    pub environment: EnvironmentName,
}

impl PostgresWorld {
    /// Makes a database to which no migration was applied yet.
    pub async fn empty() -> Self {
        Self::of(Database::create().await.unwrap())
    }

    /// Makes a database for a test that first runs `hookbox migrate` but does not test migrations;
    /// see [`Database::create_for_migrate`].
    pub async fn before_migrate() -> Self {
        Self::of(Database::create_for_migrate().await.unwrap())
    }

    fn of(database: Database) -> Self {
        let proxy = Proxy::before(database.url()).unwrap();
        Self {
            database,
            proxy,
            environment: random_environment(),
        }
    }

    pub async fn new() -> Self {
        let database = Database::create_for_migrate().await.unwrap();
        let environment = random_environment();
        // The future of `migrate` is not `Send`, so it runs on a blocking thread.
        let (options, runtime) = (
            Options::new(database.url(), environment.clone()),
            tokio::runtime::Handle::current(),
        );
        let migrating = move || runtime.block_on(migrate(options));
        tokio::task::spawn_blocking(migrating)
            .await
            .unwrap()
            .unwrap();
        let proxy = Proxy::before(database.url()).unwrap();
        let world = Self {
            database,
            proxy,
            environment,
        };
        world
            .execute("create table effects (key text not null)")
            .await;
        world
    }

    /// Returns the URL with which a driver connects to the database through the proxy.
    pub fn url(&self) -> String {
        self.proxy.url(self.database.url())
    }

    pub async fn open(&self) -> Postgres {
        Postgres::open(Options::new(self.url(), self.environment.clone()))
            .await
            .unwrap()
    }

    /// Opens a connection that bypasses the driver and the proxy.
    pub async fn connect(&self) -> PgConnection {
        PgConnection::connect(self.database.url()).await.unwrap()
    }

    pub async fn execute(&self, statement: &'static str) {
        let mut connection = self.connect().await;
        sqlx::query(statement)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    /// Runs a statement that the test builds at run time.
    pub async fn execute_any(&self, statement: &str) {
        let mut connection = self.connect().await;
        let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()));
        statement.execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    pub async fn count_all(&self, statement: &'static str) -> u64 {
        let mut connection = self.connect().await;
        let count: i64 = sqlx::query_scalar(statement)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        u64::try_from(count).unwrap()
    }

    pub async fn count(&self, statement: &'static str, key: &str) -> u64 {
        let mut connection = self.connect().await;
        let count: i64 = sqlx::query_scalar(statement)
            .bind(key)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        u64::try_from(count).unwrap()
    }

    /// Checks that no transaction is open, and drops the database.
    pub async fn finish(self) {
        let open = "select count(*) from pg_stat_activity where datname = current_database() \
                    and pid <> pg_backend_pid() and state <> 'idle' and $1 = ''";
        let mut left = self.count(open, "").await;
        for _ in 0..100 {
            if left == 0 {
                break;
            }
            left = self.count(open, "").await;
        }
        assert_eq!(
            left, 0,
            "no session may still run a statement or have an open transaction"
        );
        let name = self.database.name().to_owned();
        drop(self.database);
        let mut server = PgConnection::connect(&variable(SERVER_URL)).await.unwrap();
        let there: bool =
            sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
                .bind(name)
                .fetch_one(&mut server)
                .await
                .unwrap();
        server.close().await.unwrap();
        assert!(
            !there,
            "the database must have been dropped, and still exists"
        );
    }
}
