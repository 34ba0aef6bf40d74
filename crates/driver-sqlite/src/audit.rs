//! The table `audit`: what operators changed and read. Rows are only ever added.

use hookbox_driver::{AuditFilter, AuditRow, storable};
use hookbox_event::Timestamp;
use sqlx::sqlite::SqliteConnection;

use crate::column::Columns;

/// Adds a row for one action of an operator.
pub(crate) async fn add(
    connection: &mut SqliteConnection,
    actor: &str,
    action: &str,
    subject: &str,
) -> sqlx::Result<()> {
    sqlx::query("INSERT INTO audit (at, actor, action, subject) VALUES (?1, ?2, ?3, ?4)")
        .bind(crate::moment::now())
        .bind(storable(actor))
        .bind(storable(action))
        .bind(storable(subject))
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns rows with an id below `before` that match a filter, newest first.
pub(crate) async fn list(
    connection: &mut SqliteConnection,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: u32,
) -> sqlx::Result<Vec<AuditRow>> {
    let rows = sqlx::query(
        "SELECT id, at, actor, action, subject FROM audit
         WHERE id < ?1 AND (?2 IS NULL OR actor = ?2) AND (?3 IS NULL OR action = ?3)
           AND (?4 IS NULL OR at >= ?4) AND (?5 IS NULL OR at < ?5)
         ORDER BY id DESC LIMIT ?6",
    )
    .bind(before.unwrap_or(i64::MAX))
    .bind(filter.actor.as_deref())
    .bind(filter.action.as_deref())
    .bind(filter.since.map(Timestamp::unix_micros))
    .bind(filter.until.map(Timestamp::unix_micros))
    .bind(limit)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(AuditRow {
                id: sqlx::Row::try_get(row, "id")?,
                at: row.moment("at")?,
                actor: row.text("actor")?,
                action: row.text("action")?,
                subject: row.text("subject")?,
            })
        })
        .collect()
}
