//! Opens connections, and checks that SQLite runs with the settings that durability and consistency
//! depend on.

use std::path::Path;

use hookbox_driver::{FaultKind, OpenError};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};

use crate::diagnose::diagnose;
use crate::refused::by_sqlite;
use crate::{Options, THE_FILE};

/// The first SQLite version without the WAL-reset bug. With several connections that write and
/// checkpoint, as hookbox has, older versions can corrupt the file (sqlite.org, 3.51.3 notes).
const VERSION_MIN: (u32, u32, u32) = (3, 51, 3);

/// The size in bytes to which SQLite truncates the write-ahead log after a burst of writes.
const LOG_BYTES_KEPT: &str = "67108864";

/// Returns the options of a connection that may write.
pub(crate) fn for_writing(options: &Options) -> SqliteConnectOptions {
    // Every setting is written out, even where it equals SQLite's default, because SQLite can be
    // compiled with other defaults.
    SqliteConnectOptions::new()
        .filename(&options.path)
        .create_if_missing(false)
        .busy_timeout(options.busy_timeout)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // Memory mapping is off, because a read error in a mapped file kills the process with
        // SIGBUS instead of returning an error.
        .pragma("mmap_size", "0")
        .pragma("journal_size_limit", LOG_BYTES_KEPT)
        // Statements are not logged, because a handler's statement may contain data that must not
        // be in a log.
        .disable_statement_logging()
}

/// Returns the options of a connection that cannot write.
pub(crate) fn for_reading(options: &Options) -> SqliteConnectOptions {
    for_writing(options).pragma("query_only", "ON")
}

/// Checks the SQLite version, the settings of a writing connection, and that this connection may
/// write to the file.
pub(crate) async fn prove(
    connection: &mut SqliteConnection,
    options: &Options,
) -> Result<(), OpenError> {
    let unusable = by_sqlite(&options.path);
    let version: String = query(connection, "select sqlite_version()")
        .await
        .map_err(&unusable)?;
    check_version(&version)?;
    let mode: String = query(connection, "pragma journal_mode")
        .await
        .map_err(&unusable)?;
    // The journal mode is stored in the file, and the backup that `vacuum into` makes has another
    // one. `hookbox migrate` does not know the file of a spool.
    let remedy = if options.exclusive {
        ""
    } else {
        "; run `hookbox migrate`, which sets it"
    };
    expect("journal_mode", &mode, "wal", remedy)?;
    for (pragma, question, needed) in [
        ("synchronous", "pragma synchronous", 2),
        ("foreign_keys", "pragma foreign_keys", 1),
    ] {
        let found: i64 = query(connection, question).await.map_err(&unusable)?;
        expect(pragma, &found.to_string(), &needed.to_string(), "")?;
    }
    may_write(connection).await.map_err(unusable)
}

/// Checks that the connection may write, because SQLite opens a read-only file without an error.
/// The check also works while another process holds the write lock, because SQLite checks first
/// whether the file is read-only.
async fn may_write(connection: &mut SqliteConnection) -> sqlx::Result<()> {
    let patience: i64 = query(connection, "pragma busy_timeout").await?;
    query::<i64>(connection, "pragma busy_timeout = 0").await?;
    // On a read-only file, `BEGIN IMMEDIATE` alone succeeds as a read transaction, so a statement
    // that writes follows.
    let begun = sqlx::raw_sql("begin immediate; delete from meta where false; rollback")
        .execute(&mut *connection)
        .await;
    // `patience` is a number that SQLite itself returned, so it is safe to put it into the
    // statement.
    let restore = AssertSqlSafe(format!("pragma busy_timeout = {patience}"));
    sqlx::raw_sql(restore).execute(connection).await?;
    match begun {
        Err(error) if diagnose(&error) != Some(FaultKind::Contention) => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

async fn query<T>(connection: &mut SqliteConnection, question: &'static str) -> sqlx::Result<T>
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin,
{
    sqlx::query_scalar(question).fetch_one(connection).await
}

fn expect(setting: &str, found: &str, needed: &str, remedy: &str) -> Result<(), OpenError> {
    if found.eq_ignore_ascii_case(needed) {
        return Ok(());
    }
    Err(OpenError::Unsafe {
        what: THE_FILE,
        why: format!("`pragma {setting}` is {found:?} and must be {needed:?}{remedy}"),
    })
}

fn check_version(version: &str) -> Result<(), OpenError> {
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    if (part(), part(), part()) >= VERSION_MIN {
        return Ok(());
    }
    let (major, minor, patch) = VERSION_MIN;
    Err(OpenError::Unsafe {
        what: "the SQLite library",
        why: format!(
            "SQLite is version {version}, which can corrupt the file; build hookbox with the \
             bundled one ({major}.{minor}.{patch} or newer)"
        ),
    })
}

/// Opens one connection, or returns why the file cannot be opened.
pub(crate) async fn connect(
    options: &SqliteConnectOptions,
    path: &Path,
) -> Result<SqliteConnection, OpenError> {
    options.connect().await.map_err(by_sqlite(path))
}

/// Closes one connection whose work is done. An error while closing does not matter.
pub(crate) async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a SQLite connection could not be closed, after its work was done");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_libraries_are_refused() {
        for good in ["3.51.3", "3.51.10", "3.53.0", "4.0.0"] {
            assert!(check_version(good).is_ok(), "{good}");
        }
        for bad in ["3.51.2", "3.40.1", "2.99.99", "", "x"] {
            assert!(
                matches!(check_version(bad), Err(OpenError::Unsafe { .. })),
                "{bad:?}"
            );
        }
    }
}
