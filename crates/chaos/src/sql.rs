//! The store, past every proxy and every line of hookbox: rows as texts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use tokio::runtime::Runtime;

/// A store that can be asked. Every question is a connection of its own, so that it survives
/// whatever happens to the server.
pub struct Sql {
    runtime: Runtime,
    place: Place,
}

enum Place {
    Postgres(String),
    Sqlite(PathBuf),
}

/// A transaction that stays open.
pub enum Held {
    Postgres(PgConnection),
    Sqlite(SqliteConnection),
}

/// One row.
pub type Texts = Vec<String>;

impl Sql {
    /// A PostgreSQL database, by its URL.
    ///
    /// # Errors
    /// When there is no runtime to be had.
    pub fn postgres(url: &str) -> Result<Self> {
        Self::new(Place::Postgres(url.to_owned()))
    }

    /// An SQLite file.
    ///
    /// # Errors
    /// When there is no runtime to be had.
    pub fn sqlite(path: &Path) -> Result<Self> {
        Self::new(Place::Sqlite(path.to_owned()))
    }

    fn new(place: Place) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("making a runtime for questions to the store")?;
        Ok(Self { runtime, place })
    }

    /// Whether it is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(self.place, Place::Postgres(_))
    }

    /// A column of bytes as lower-case hex.
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
    /// When one fails.
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
            .context("changing the store past hookbox")
        })
    }

    /// Runs a statement in a transaction that stays open until [`Sql::end`], which undoes it.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn begin(&self, statement: &str) -> Result<Held> {
        let statement = AssertSqlSafe(statement.to_owned());
        let held: sqlx::Result<Held> = self.runtime.block_on(async {
            Ok(match &self.place {
                Place::Postgres(url) => {
                    let mut connection = PgConnection::connect(url).await?;
                    connection.execute("begin").await?;
                    connection.execute(sqlx::raw_sql(statement)).await?;
                    Held::Postgres(connection)
                }
                Place::Sqlite(path) => {
                    let mut connection = open(path).await?;
                    connection.execute("begin").await?;
                    connection.execute(sqlx::raw_sql(statement)).await?;
                    Held::Sqlite(connection)
                }
            })
        });
        held.context("opening a transaction in the store")
    }

    /// Undoes a transaction.
    ///
    /// # Errors
    /// When a store that is there refuses.
    pub fn end(&self, held: Held) -> Result<()> {
        self.runtime.block_on(async {
            match held {
                Held::Postgres(mut connection) => {
                    connection.execute("rollback").await?;
                    connection.close().await
                }
                Held::Sqlite(mut connection) => {
                    connection.execute("rollback").await?;
                    connection.close().await
                }
            }
            .context("undoing a transaction in the store")
        })
    }

    /// Asks for rows. Every column must be a text.
    ///
    /// # Errors
    /// When the question fails, or a column is no text.
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
        rows.with_context(|| format!("asking the store: {question}"))
    }

    /// Asks for one number, as a text.
    ///
    /// # Errors
    /// When the question fails, or the answer is no number.
    pub fn number(&self, question: &str) -> Result<u64> {
        let rows = self.rows(question)?;
        let text = rows.first().and_then(|row| row.first());
        let text = text.with_context(|| format!("no answer to {question}"))?;
        text.parse().with_context(|| format!("{text} is no number"))
    }
}

async fn open(path: &Path) -> sqlx::Result<SqliteConnection> {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(std::time::Duration::from_secs(20))
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
