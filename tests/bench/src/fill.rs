//! Fills a store with processed events before a case: writes rows into every table in which a
//! processed event has rows, with random event ids, and then makes a checkpoint. The events are
//! done by the route `scores`, and the accounting balances with them.
//!
//! The statements are in `fill/`, in a file for each database and layout of the tables. The name of
//! a file has the first schema version that it is for. `POSTGRES` and `SQLITE` below say which
//! files are run on which schema.

use anyhow::{Context, Result};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor as _};

use crate::bench::Bench;
use crate::store::{FILLED, Store};

/// The statements that fill a PostgreSQL store. Each entry has the first schema version for which
/// its statements work.
const POSTGRES: &[(i64, &str)] = &[
    (1, include_str!("fill/postgres-1.sql")),
    (14, include_str!("fill/postgres-14.sql")),
    (
        18,
        concat!(
            include_str!("fill/postgres-14.sql"),
            include_str!("fill/postgres-18.sql")
        ),
    ),
];

/// The statements that fill a SQLite store. Each entry has the first schema version for which its
/// statements work.
const SQLITE: &[(i64, &str)] = &[
    (1, include_str!("fill/sqlite-1.sql")),
    (14, include_str!("fill/sqlite-14.sql")),
    (
        18,
        concat!(
            include_str!("fill/sqlite-14.sql"),
            include_str!("fill/sqlite-18.sql")
        ),
    ),
];

/// How many events one transaction writes: enough to write fast, and few enough that the progress
/// can be printed in between.
const CHUNK: u64 = 100_000;

const VERSION: &str = "select max(version) from _sqlx_migrations";

/// Adds this many events to a store.
pub(crate) fn fill(bench: &Bench<'_>, store: &Store, events: u64) -> Result<()> {
    bench.runtime.block_on(async {
        let mut writer = Writer::open(store).await?;
        let mut first = 1;
        while first <= events {
            let last = (first + CHUNK - 1).min(events);
            writer.write(first, last).await?;
            if last == events || last.is_multiple_of(CHUNK * 10) {
                bench.say(&format!("{last} of {events} events stored"));
            }
            first = last + 1;
        }
        writer.close().await?;
        store.checkpoint().await
    })
}

/// Returns a number of events in words, such as "3 million".
pub(crate) fn amount(events: u64) -> String {
    let millions = events as f64 / 1e6;
    format!("{millions} million")
}

enum Writer {
    Postgres(PgConnection, &'static str),
    Sqlite(SqliteConnection, &'static str),
}

impl Writer {
    async fn open(store: &Store) -> Result<Writer> {
        match store {
            Store::Postgres(url) => {
                let mut connection = PgConnection::connect(url).await?;
                // These rows need not survive a crash of the server, so no commit has to wait for
                // the disk.
                connection.execute("set synchronous_commit = off").await?;
                let version = sqlx::query_scalar(VERSION).fetch_one(&mut connection);
                let statements = newest(POSTGRES, version.await?)?;
                Ok(Writer::Postgres(connection, statements))
            }
            Store::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path);
                let mut connection = options.pragma("cache_size", "-200000").connect().await?;
                let version = sqlx::query_scalar(VERSION).fetch_one(&mut connection);
                let statements = newest(SQLITE, version.await?)?;
                Ok(Writer::Sqlite(connection, statements))
            }
        }
    }

    async fn write(&mut self, first: u64, last: u64) -> Result<()> {
        let statements = |text: &str| {
            let text = text
                .replace(":first", &first.to_string())
                .replace(":last", &last.to_string())
                .replace(":instance_hex", &FILLED.replace('-', ""))
                .replace(":instance", FILLED);
            AssertSqlSafe(text)
        };
        match self {
            Writer::Postgres(connection, text) => {
                let mut tx = connection.begin().await?;
                tx.execute(sqlx::raw_sql(statements(text))).await?;
                tx.commit().await?;
            }
            Writer::Sqlite(connection, text) => {
                let mut tx = connection.begin().await?;
                tx.execute(sqlx::raw_sql(statements(text))).await?;
                tx.commit().await?;
            }
        }
        Ok(())
    }

    async fn close(self) -> Result<()> {
        match self {
            Writer::Postgres(mut connection, _) => {
                connection.execute("vacuum analyze").await?;
                connection.close().await?;
            }
            Writer::Sqlite(connection, _) => connection.close().await?,
        }
        Ok(())
    }
}

fn newest(all: &[(i64, &'static str)], version: i64) -> Result<&'static str> {
    let fits = all.iter().filter(|(from, _)| *from <= version);
    let newest = fits.max_by_key(|(from, _)| *from);
    let (_, statements) = newest.with_context(|| format!("no statements for schema {version}"))?;
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_statements_up_to_a_version_count() {
        let all = [(1, "a"), (11, "b")];
        assert_eq!(newest(&all, 5).expect("found"), "a");
        assert_eq!(newest(&all, 12).expect("found"), "b");
        assert!(newest(&all, 0).is_err());
    }
}
