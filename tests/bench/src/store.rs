//! Reads from a store, without hookbox, what a run has done, and prepares the store for a case.

use std::path::PathBuf;

use anyhow::{Context, Result};
use sqlx::postgres::PgConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor as _};

/// The instance whose receipts `fill` has written. It never was an ingest.
pub(crate) const FILLED: &str = "be9c0000-0000-7000-8000-000000000000";

/// The store of a deployment, which contains the events and their outcomes.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Postgres(String),
    Sqlite(PathBuf),
}

/// One commit of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Commit {
    /// The time of the commit, in seconds since 1970.
    pub at: f64,
    pub receipts: u64,
}

impl Store {
    /// Returns how many receipts have a final outcome: their events wait neither for another
    /// attempt nor for the end of a call. The receipts that `fill` has written are not counted.
    pub async fn settled(&self) -> Result<u64> {
        let count: i64 = match self {
            Store::Postgres(url) => {
                let sql = "select count(*) from receipts
                           where instance <> $1::uuid and outcome <> 'retrying'";
                let mut connection = connect(url).await?;
                let count = sqlx::query_scalar(sql).bind(FILLED);
                count.fetch_one(&mut connection).await?
            }
            Store::Sqlite(path) => {
                let sql = "select count(*) from receipts
                           where hex(instance) <> ? and outcome <> 'retrying'";
                let mut connection = open(path).await?;
                let count = sqlx::query_scalar(sql).bind(filled_hex());
                count.fetch_one(&mut connection).await?
            }
        };
        Ok(count as u64)
    }

    /// Returns how many receipts were inserted, including those of `fill` and of transactions that
    /// were rolled back. PostgreSQL updates this number about every second.
    pub async fn inserted(&self) -> Result<u64> {
        let Store::Postgres(url) = self else {
            return self.settled().await;
        };
        let sql = "select coalesce(sum(n_tup_ins), 0)::bigint from pg_stat_user_tables
                   where relname like 'receipts%'";
        let mut connection = connect(url).await?;
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
        Ok(count as u64)
    }

    /// Returns the commits since a time, with the number of receipts that each has settled. SQLite
    /// does not keep the times of commits. So the time of a SQLite commit is the time at which its
    /// receipts were written, just before the commit.
    pub async fn commits(&self, since: f64) -> Result<Vec<Commit>> {
        let rows: Vec<(f64, i64)> = match self {
            Store::Postgres(url) => {
                let sql = "select extract(epoch from at)::float8, count(*)
                           from (select pg_xact_commit_timestamp(xmin) as at from receipts
                                 where instance <> $1::uuid) as committed
                           where at > to_timestamp($2) group by at order by at";
                let mut connection = connect(url).await?;
                let rows = sqlx::query_as(sql).bind(FILLED).bind(since);
                rows.fetch_all(&mut connection).await?
            }
            Store::Sqlite(path) => {
                let sql = "select settled_at / 1e6, count(*) from receipts
                           where hex(instance) <> ? and settled_at > ?
                           group by settled_at order by settled_at";
                let mut connection = open(path).await?;
                let since = (since * 1e6) as i64;
                let rows = sqlx::query_as(sql).bind(filled_hex()).bind(since);
                rows.fetch_all(&mut connection).await?
            }
        };
        let commit = |(at, receipts): (f64, i64)| Commit {
            at,
            receipts: receipts as u64,
        };
        Ok(rows.into_iter().map(commit).collect())
    }

    /// Returns the id of each receipt that was settled since a time, and when that was committed.
    pub async fn settlements(&self, since: f64) -> Result<Vec<(String, f64)>> {
        let Store::Postgres(url) = self else {
            return Ok(Vec::new());
        };
        let sql = "select receipt_id::text, extract(epoch from at)::float8
                   from (select receipt_id, pg_xact_commit_timestamp(xmin) as at from receipts
                         where instance <> $1::uuid) as committed
                   where at > to_timestamp($2)";
        let mut connection = connect(url).await?;
        let rows = sqlx::query_as(sql).bind(FILLED).bind(since);
        Ok(rows.fetch_all(&mut connection).await?)
    }

    /// Returns how many receipts belong to dead events, or to events that wait for a retry.
    pub async fn dead(&self) -> Result<u64> {
        let Store::Postgres(url) = self else {
            return Ok(0);
        };
        let sql = "select count(*) from receipts where outcome in ('dead', 'retrying')";
        let mut connection = connect(url).await?;
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut connection).await?;
        Ok(count as u64)
    }

    /// Returns how many rows a table has.
    pub async fn rows(&self, table: &str) -> Result<u64> {
        let sql = AssertSqlSafe(format!("select count(*) from {table}"));
        let count: i64 = match self {
            Store::Postgres(url) => {
                let mut connection = connect(url).await?;
                sqlx::query_scalar(sql).fetch_one(&mut connection).await?
            }
            Store::Sqlite(path) => {
                let mut connection = open(path).await?;
                sqlx::query_scalar(sql).fetch_one(&mut connection).await?
            }
        };
        Ok(count as u64)
    }

    /// Runs statements that a case needs. The statements are a part of the bench and never come
    /// from input.
    pub async fn execute(&self, statements: &str) -> Result<()> {
        let statements = AssertSqlSafe(statements.to_owned());
        match self {
            Store::Postgres(url) => {
                let mut connection = connect(url).await?;
                connection.execute(sqlx::raw_sql(statements)).await?;
            }
            Store::Sqlite(path) => {
                let mut connection = open(path).await?;
                connection.execute(sqlx::raw_sql(statements)).await?;
                connection.close().await?;
            }
        }
        Ok(())
    }

    /// Writes a checkpoint, and waits for its end.
    pub async fn checkpoint(&self) -> Result<()> {
        self.execute(match self {
            Store::Postgres(_) => "checkpoint",
            Store::Sqlite(_) => "pragma wal_checkpoint(truncate)",
        })
        .await
    }
}

/// Returns the id of the instance of `fill` as SQLite's function `hex` writes it.
fn filled_hex() -> String {
    FILLED.replace('-', "").to_uppercase()
}

async fn connect(url: &str) -> Result<PgConnection> {
    let connection = PgConnection::connect(url).await;
    connection.context("connecting to PostgreSQL")
}

async fn open(path: &std::path::Path) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(path);
    let connection = options.connect().await;
    connection.with_context(|| format!("opening {}", path.display()))
}
