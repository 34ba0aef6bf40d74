//! For tests of handlers: stores in which a handler runs on sample events, and which keep nothing
//! of that run. For tests of effects: [`rehearse_call`], which needs no store.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;

use hookbox_driver::{OpenError, Rng as _, SystemRng};
use hookbox_driver_postgres::Postgres;
use hookbox_driver_sqlite::Sqlite;
use hookbox_event::EnvironmentName;
use hookbox_handlers::sqlx::{self, PgConnection, SqliteConnection};
use hookbox_worker::{Handler, register};

use crate::compose::{BoxError, HandlerStore};

pub use hookbox_worker::{
    AfterCall, CallRehearsalError, Form, RehearsalError, Sample, rehearse_call,
};

/// The environment of test stores. A database of another environment is refused, so no test runs in
/// the database of a service by mistake.
const ENVIRONMENT: &str = "rehearsal";

/// A store in which tests run handlers. [`sqlite`] and [`postgres`] open one.
pub struct TestStore<S> {
    store: S,
    tables: Vec<&'static str>,
    /// The folder of the store's SQLite file, which is removed when this value is dropped.
    _folder: Option<Folder>,
}

/// Opens a new SQLite file in a temporary folder. The folder is removed when the store is dropped.
///
/// # Errors
/// When the file cannot be created.
pub async fn sqlite() -> Result<TestStore<Sqlite>, OpenError> {
    let folder = Folder::new().map_err(|error| OpenError::Unavailable {
        what: "a temporary folder",
        source: error.into(),
    })?;
    let path = folder.0.join("hookbox.db");
    let options = || hookbox_driver_sqlite::Options::new(&path, environment(), Vec::new());
    hookbox_driver_sqlite::migrate(options()).await?;
    Ok(TestStore {
        store: Sqlite::open(options()).await?,
        tables: Vec::new(),
        _folder: Some(folder),
    })
}

/// Opens a PostgreSQL database that is for tests only, and gives it hookbox's tables if it has
/// none. A database in which a service of hookbox has run is refused.
///
/// # Errors
/// When the database cannot be used.
pub async fn postgres(url: &str) -> Result<TestStore<Postgres>, OpenError> {
    let options = || hookbox_driver_postgres::Options::new(url, environment());
    hookbox_driver_postgres::migrate(options()).await?;
    Ok(TestStore {
        store: Postgres::open(options()).await?,
        tables: Vec::new(),
        _folder: None,
    })
}

fn environment() -> EnvironmentName {
    ENVIRONMENT
        .parse()
        .expect("the name of the test environment must be valid")
}

impl<S: TestDatabase> TestStore<S> {
    /// Adds statements that create the tables of the handler, such as a file of migrations. They
    /// run before the handler, in the handler's transaction, so they are rolled back as well. They
    /// must not end this transaction.
    #[must_use]
    pub fn with(mut self, statements: &'static str) -> Self {
        self.tables.push(statements);
        self
    }

    /// Runs a handler on samples as a worker does. The first run calls `handle` for each sample. If
    /// the handler overrides `handle_all`, a second run calls `handle_all` for all samples. Each
    /// run has its own transaction, which is rolled back. Returns what `look` has read at the end
    /// of a run. It is an error if `look` reads different values in the two runs.
    ///
    /// # Errors
    ///
    /// When the handler fails, or its two forms have different effects.
    pub async fn rehearse<H, T, E>(
        &self,
        handler: H,
        samples: impl IntoIterator<Item = impl Into<Sample>>,
        look: impl AsyncFn(&mut S::Connection) -> Result<T, E>,
    ) -> Result<T, RehearsalError>
    where
        H: Handler<S>,
        T: PartialEq + fmt::Debug,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let samples: Vec<Sample> = samples.into_iter().map(Into::into).collect();
        let handler = register::<S, H>(handler);
        let prepare = async |tx: &mut S::Connection| -> Result<(), BoxError> {
            for statements in &self.tables {
                S::execute(tx, statements).await?;
            }
            Ok(())
        };
        let look = async |tx: &mut S::Connection| look(tx).await.map_err(Into::into);
        hookbox_worker::rehearse(&self.store, &handler, &samples, prepare, look).await
    }
}

/// A database that runs statements for a test.
pub trait TestDatabase: HandlerStore {
    /// Runs the statements that a test gives, such as those that create its tables.
    #[doc(hidden)]
    fn execute(
        connection: &mut Self::Connection,
        statements: &'static str,
    ) -> impl Future<Output = Result<(), sqlx::Error>>;
}

impl TestDatabase for Postgres {
    async fn execute(
        connection: &mut PgConnection,
        statements: &'static str,
    ) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(statements)
            .execute(connection)
            .await
            .map(drop)
    }
}

impl TestDatabase for Sqlite {
    async fn execute(
        connection: &mut SqliteConnection,
        statements: &'static str,
    ) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(statements)
            .execute(connection)
            .await
            .map(drop)
    }
}

/// A temporary folder, which is removed when this value is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let name = format!("hookbox-rehearsal-{}", hex::encode(SystemRng.ten()));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // An error is ignored: a folder that stays disturbs no other test, because its name is
        // random.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests;
