//! Direct access to the store without a proxy and without code of hookbox. All values are texts.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use tokio::runtime::Runtime;

/// The longest time that this code waits for a lock of another session: longer than any transaction
/// of hookbox takes.
const LOCK_MAX: Duration = Duration::from_secs(5);

/// A store that can be queried. Every query opens a new connection, so that a restart of the server
/// does no harm.
pub struct Sql {
    runtime: Runtime,
    place: Place,
}

enum Place {
    Postgres(String),
    Sqlite(PathBuf),
}

/// An open transaction that holds locks.
pub enum HeldLock {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// One row: the texts of its columns.
pub type Texts = Vec<String>;

impl Sql {
    /// Accesses a PostgreSQL database by its URL.
    ///
    /// # Errors
    /// When no async runtime can be built.
    pub fn postgres(url: &str) -> Result<Self> {
        Self::new(Place::Postgres(url.to_owned()))
    }

    /// Accesses an SQLite file.
    ///
    /// # Errors
    /// When no async runtime can be built.
    pub fn sqlite(path: &Path) -> Result<Self> {
        Self::new(Place::Sqlite(path.to_owned()))
    }

    fn new(place: Place) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("building an async runtime for queries to the store")?;
        Ok(Self { runtime, place })
    }

    /// Returns whether the store is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Postgres(_))
    }

    /// Returns an SQL expression for a column of bytes as lower-case hex.
    pub fn hex(&self, column: &str) -> String {
        if self.is_postgres() {
            format!("encode({column}, 'hex')")
        } else {
            format!("lower(hex({column}))")
        }
    }

    /// Runs statements, one after the other.
    ///
    /// # Errors
    /// When a statement fails.
    pub fn run(&self, statements: &str) -> Result<()> {
        let statements = AssertSqlSafe(statements.to_owned());
        self.runtime.block_on(async {
            match &self.place {
                Place::Postgres(url) => {
                    let mut connection = PgConnection::connect(url).await?;
                    connection.execute(sqlx::raw_sql(statements)).await?;
                    connection.close().await
                }
                Place::Sqlite(path) => {
                    let mut connection = open(path).await?;
                    connection.execute(sqlx::raw_sql(statements)).await?;
                    connection.close().await
                }
            }
            .context("running statements in the store without hookbox")
        })
    }

    /// Runs a statement in a transaction that stays open until [`Sql::end`] rolls it back. Returns
    /// `None` when another session holds the lock for too long, such as a process that is frozen in
    /// the middle of a write.
    ///
    /// # Errors
    /// When the statement fails for another reason than a lock.
    pub fn begin(&self, statement: &str) -> Result<Option<HeldLock>> {
        let began = Instant::now();
        loop {
            match self.runtime.block_on(self.begin_once(statement)) {
                Ok(held) => return Ok(Some(held)),
                Err(error) if is_locked(&error) => {
                    if began.elapsed() > LOCK_MAX {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error).context("opening a transaction in the store"),
            }
        }
    }

    async fn begin_once(&self, statement: &str) -> sqlx::Result<HeldLock> {
        let statement = AssertSqlSafe(statement.to_owned());
        Ok(match &self.place {
            Place::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await?;
                connection.execute("begin").await?;
                let patience = format!("set local lock_timeout = {}", LOCK_MAX.as_millis());
                connection.execute(AssertSqlSafe(patience)).await?;
                connection.execute(sqlx::raw_sql(statement)).await?;
                HeldLock::Postgres(connection)
            }
            Place::Sqlite(path) => {
                let mut connection = open(path).await?;
                // With a long timeout, SQLite waits up to 100 ms between two tries to take the
                // lock. It would hardly ever try between two transactions of a process that writes
                // without a pause. So the timeout of SQLite is short, and this code tries again.
                connection.execute("pragma busy_timeout = 3").await?;
                connection.execute("begin").await?;
                connection.execute(sqlx::raw_sql(statement)).await?;
                HeldLock::Sqlite(connection)
            }
        })
    }

    /// Rolls back an open transaction.
    ///
    /// # Errors
    /// When the rollback fails.
    pub fn end(&self, held: HeldLock) -> Result<()> {
        self.runtime.block_on(async {
            match held {
                HeldLock::Postgres(mut connection) => {
                    connection.execute("rollback").await?;
                    connection.close().await
                }
                HeldLock::Sqlite(mut connection) => {
                    connection.execute("rollback").await?;
                    connection.close().await
                }
            }
            .context("rolling back a transaction in the store")
        })
    }

    /// Runs a query and returns its rows. Every column must be a text.
    ///
    /// # Errors
    /// When the query fails, or a column is not a text.
    pub fn rows(&self, question: &str) -> Result<Vec<Texts>> {
        let safe = AssertSqlSafe(question.to_owned());
        let rows = self.runtime.block_on(async {
            match &self.place {
                Place::Postgres(url) => {
                    let mut connection = PgConnection::connect(url).await?;
                    let rows = sqlx::query(safe).fetch_all(&mut connection).await?;
                    connection.close().await?;
                    rows.iter().map(of_postgres).collect()
                }
                Place::Sqlite(path) => {
                    let mut connection = open(path).await?;
                    let rows = sqlx::query(safe).fetch_all(&mut connection).await?;
                    connection.close().await?;
                    rows.iter().map(of_sqlite).collect::<Result<_, _>>()
                }
            }
        });
        rows.with_context(|| format!("querying the store: {question}"))
    }

    /// Runs a query that returns one number as a text.
    ///
    /// # Errors
    /// When the query fails, or its result is not a number.
    pub fn number(&self, question: &str) -> Result<u64> {
        let rows = self.rows(question)?;
        let text = rows.first().and_then(|row| row.first());
        let text = text.with_context(|| format!("the query {question} returned no row"))?;
        text.parse()
            .with_context(|| format!("{text} is not a number"))
    }
}

/// Returns whether another session holds the lock: SQLITE_BUSY (5), SQLITE_BUSY_SNAPSHOT (517) or
/// PostgreSQL's lock_not_available (55P03).
fn is_locked(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(code.as_ref(), "5" | "517" | "55P03"))
}

async fn open(path: &Path) -> sqlx::Result<SqliteConnection> {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(Duration::from_secs(20))
        .connect()
        .await
}

fn of_postgres(row: &PgRow) -> sqlx::Result<Texts> {
    let one = |place| Ok(row.try_get::<Option<String>, _>(place)?.unwrap_or_default());
    (0..row.len()).map(one).collect()
}

fn of_sqlite(row: &SqliteRow) -> sqlx::Result<Texts> {
    let one = |place| Ok(row.try_get::<Option<String>, _>(place)?.unwrap_or_default());
    (0..row.len()).map(one).collect()
}
