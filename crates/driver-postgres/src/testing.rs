//! Creates a separate database for each test, and dumps the migrated schema. Not for production.

mod dump;

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use hookbox_driver::OpenError;
use hookbox_event::EnvironmentName;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

use crate::server::time_limit::goodbye;
use crate::{Options, Postgres, migrate};

pub use dump::dump_schema;

/// The environment variable that names the PostgreSQL server for tests. Its value is the URL of a
/// superuser, with any database of that server.
pub const SERVER_URL: &str = "HOOKBOX_TEST_POSTGRES_URL";

/// How long creating or dropping a database may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

type Failed = Box<dyn Error + Send + Sync>;

/// A database that one test uses alone. Dropping this value drops the database and ends all
/// connections to it.
pub struct Database {
    server: PgConnectOptions,
    name: String,
    url: String,
}

impl Database {
    /// Creates an empty database on the server that [`SERVER_URL`] names.
    pub async fn create() -> Result<Self, Failed> {
        let url = std::env::var(SERVER_URL).map_err(|_| {
            format!("set {SERVER_URL} to a PostgreSQL server on which tests may create databases")
        })?;
        Self::create_at(&url, None).await
    }

    /// Creates a database on a server: an empty one, or a copy of `template`, to which no
    /// connection may be open.
    pub async fn create_at(server_url: &str, template: Option<&str>) -> Result<Self, Failed> {
        let server: PgConnectOptions = server_url.parse()?;
        let random = RandomState::new().build_hasher().finish();
        let name = format!("hookbox_test_{random:016x}");
        let template = template.unwrap_or("template0");
        execute(
            &server,
            format!("create database {name} template \"{template}\""),
        )
        .await?;
        let url = server.clone().database(&name).to_url_lossy().to_string();
        Ok(Self { server, name, url })
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the name of the database, for use as a template.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the default options for opening the database.
    pub fn options(&self, environment: &EnvironmentName) -> Options {
        Options::new(&self.url, environment.clone())
    }

    /// Migrates the database, and opens it.
    pub async fn open(&self, environment: &EnvironmentName) -> Result<Postgres, OpenError> {
        migrate(self.options(environment)).await?;
        Postgres::open(self.options(environment)).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let statement = format!("drop database if exists {} with (force)", self.name);
        let server = self.server.clone();
        // Dropping the database is asynchronous, but `drop` is not, and it cannot block on the
        // runtime of the test in which it is called. So a separate thread does this. It also does
        // so after a panic of the test, which must leave no database behind either.
        let dropped = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(execute(&server, statement))
        })
        .join();
        if !matches!(dropped, Ok(Ok(()))) && !std::thread::panicking() {
            eprintln!("the test database {} could not be dropped", self.name);
        }
    }
}

async fn execute(server: &PgConnectOptions, statement: String) -> Result<(), Failed> {
    let work = async {
        let mut connection = server.connect().await?;
        // The statement contains no untrusted text, because the name in it was generated above.
        connection.execute(AssertSqlSafe(statement)).await?;
        goodbye(connection).await;
        Ok::<_, sqlx::Error>(())
    };
    Ok(tokio::time::timeout(DEADLINE, work).await??)
}
