//! Commits of one row into a SQLite file, each synced to disk.

use anyhow::Result;
use hookbox_testkit::servers::account::Account;
use hookbox_testkit::servers::folder::Folder;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection};

use super::meter::{Length, Meter};

const BODY_BYTES: usize = 600;

pub(super) async fn measure(length: Length) -> Result<f64> {
    let folder = Folder::new("floor", Account::Ourselves)?;
    let mut connection = SqliteConnectOptions::new()
        .filename(folder.path().join("floor.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .connect()
        .await?;
    sqlx::query("create table floor (id integer primary key, body blob not null) strict")
        .execute(&mut connection)
        .await?;
    let body = [b'x'; BODY_BYTES];
    let mut meter = Meter::new(length);
    loop {
        sqlx::query("insert into floor (body) values (?)")
            .bind(&body[..])
            .execute(&mut connection)
            .await?;
        if !meter.more() {
            break;
        }
    }
    let rate = meter.rate();
    connection.close().await?;
    Ok(rate)
}
