//! The table `audit`: what operators did and saw. Rows are only ever added.

use hookbox_driver::{AuditRow, storable};
use sqlx::sqlite::SqliteConnection;

use crate::column::Columns;

/// Adds one row.
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

/// The newest rows, newest first.
pub(crate) async fn newest(
    connection: &mut SqliteConnection,
    limit: u32,
) -> sqlx::Result<Vec<AuditRow>> {
    let rows =
        sqlx::query("SELECT id, at, actor, action, subject FROM audit ORDER BY id DESC LIMIT ?1")
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
