//! Creates a separate database for each test, and dumps the migrated schema. Not for production.

mod dump;
mod template;

use std::collections::hash_map::RandomState;
use std::error::Error;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use hookbox_driver::OpenError;
use hookbox_event::EnvironmentName;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};

use crate::server::time_limit::goodbye;
use crate::{Options, Postgres, migrate};

pub use dump::dump_schema;

/// The environment variable that names the PostgreSQL server for tests. Its value is the URL of a
/// superuser, with any database of that server.
pub const SERVER_URL: &str = "HOOKBOX_TEST_POSTGRES_URL";

/// The environment variable that allows tests to keep a template on the server: a migrated database
/// of which they make copies. `cargo xtask test` sets it for its own server, which is removed after
/// the tests. On another server the template would stay, so there it is not made unless the
/// developer sets the variable.
pub const TEMPLATE: &str = "HOOKBOX_TEST_POSTGRES_TEMPLATE";

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
        Self::create_at(&server_url()?, None).await
    }

    /// Creates a database for a test that migrates it first and is not about migrations. If
    /// [`TEMPLATE`] allows it, the database is a copy of the template; otherwise it is empty. A
    /// copy has all migrations, but no stamp of an environment.
    pub async fn create_for_migrate() -> Result<Self, Failed> {
        let server = server_url()?;
        if std::env::var_os(TEMPLATE).is_none_or(|allows| allows.is_empty()) {
            return Self::create_at(&server, None).await;
        }
        let template = template::name();
        let copy = match Self::create_at(&server, Some(&template)).await {
            Err(error) if template::is_missing(error.as_ref()) => {
                let url = server.clone();
                tokio::task::spawn_blocking(move || make_template(&url)).await??;
                Self::create_at(&server, Some(&template)).await?
            }
            created => created?,
        };
        let inside = copy.server.clone().database(&copy.name);
        execute(&inside, template::BEGIN_ANEW.to_owned()).await?;
        Ok(copy)
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

    /// Returns the URL of the database.
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
        // runtime of the test in which it is called. So a separate thread does this. The thread
        // drops the database after a panic of the test, too.
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

/// Makes the template on the server, unless it exists. Of several processes that do this at the
/// same time, one makes it, and the others wait.
///
/// This function blocks, because the future of a migration is not `Send`, and the futures of the
/// tests must be.
fn make_template(server_url: &str) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server: PgConnectOptions = server_url.parse()?;
        let mut locking = server.connect().await?;
        let made = tokio::time::timeout(DEADLINE, make_locked(&mut locking, server_url)).await;
        goodbye(locking).await;
        made?
    })
}

async fn make_locked(locking: &mut PgConnection, server_url: &str) -> Result<(), Failed> {
    template::lock(locking).await?;
    if template::exists(locking).await? {
        return Ok(());
    }
    let database = Database::create_at(server_url, None).await?;
    let mut inside = PgConnection::connect(database.url()).await?;
    let filled = template::fill(&mut inside).await;
    goodbye(inside).await;
    filled?;
    // The template gets its name when it is complete. Until then it is a database like those of the
    // tests, which is dropped after a failure. The renaming keeps it: dropping `database` drops
    // nothing then, because no database has its old name.
    let rename = format!(
        "alter database {} rename to {}",
        database.name,
        template::name()
    );
    execute(&database.server, rename).await
}

fn server_url() -> Result<String, Failed> {
    let url = std::env::var(SERVER_URL).map_err(|_| {
        format!("set {SERVER_URL} to a PostgreSQL server on which tests may create databases")
    })?;
    Ok(url)
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
