//! Finds out which tables a statement would write on SQLite. SQLite has no roles that could keep a
//! statement from hookbox's tables. So a statement that would write one of them is refused when a
//! worker starts.
//!
//! `EXPLAIN` lists the operations into which SQLite compiles a statement, with those of all
//! triggers that it fires, and executes none of them. SQLite opens a table for reading with one
//! operation, and for writing with another. The check of a foreign key only reads. So a statement
//! that only reads a table of hookbox is not refused.

use std::collections::BTreeSet;

use hookbox_driver_sqlite::own_tables;
use hookbox_sql::Place;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, Row};

/// The error for a statement that would write a table of hookbox.
#[derive(Debug, thiserror::Error)]
#[error(
    "{origin}, {place}: a statement must not write hookbox's own table {table}, not even by a \
     trigger"
)]
pub(super) struct WritesOwnTable {
    pub origin: String,
    pub place: Place,
    pub table: String,
}

/// The number that SQLite's operations use for the database file itself. Temporary tables have
/// another number.
const MAIN: i64 = 0;

/// Returns a table of hookbox that a statement would write; `None` if there is none.
pub(super) async fn own_table(
    sql: &str,
    connection: &mut SqliteConnection,
) -> sqlx::Result<Option<String>> {
    let pages = pages_written(sql, connection).await?;
    if pages.is_empty() {
        return Ok(None);
    }
    let tables: Vec<(i64, String)> =
        sqlx::query_as("select rootpage, lower(tbl_name) from sqlite_schema where rootpage > 0")
            .fetch_all(connection)
            .await?;
    let own = own_tables();
    let mut written = tables.into_iter().filter(|(page, _)| pages.contains(page));
    let found = written.find(|(_, table)| own.contains(table));
    Ok(found.map(|(_, table)| table))
}

/// Returns the first pages of all tables and indexes of the file that a statement would write.
async fn pages_written(
    sql: &str,
    connection: &mut SqliteConnection,
) -> sqlx::Result<BTreeSet<i64>> {
    let explain = AssertSqlSafe(format!("explain {sql}"));
    let operations = sqlx::query(explain)
        .persistent(false)
        .fetch_all(connection)
        .await?;
    let mut pages = BTreeSet::new();
    for operation in operations {
        let opcode: String = operation.try_get("opcode")?;
        // https://sqlite.org/opcode.html says which operand has the page, and which the database.
        let (page, database) = match opcode.as_str() {
            "OpenWrite" => ("p2", "p3"),
            // A `delete` of all rows empties the table as a whole.
            "Clear" => ("p1", "p2"),
            _ => continue,
        };
        if operation.try_get::<i64, _>(database)? == MAIN {
            pages.insert(operation.try_get(page)?);
        }
    }
    Ok(pages)
}
