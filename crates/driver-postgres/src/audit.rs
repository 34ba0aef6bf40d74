//! The table `audit`: what operators did and saw. Rows are only ever added.

use hookbox_driver::AuditRow;
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, text};

/// Adds a row.
pub(crate) async fn insert(
    c: &mut PgConnection,
    actor: &str,
    action: &str,
    subject: &str,
) -> Result<(), Error> {
    sqlx::query("insert into audit (actor, action, subject) values ($1, $2, $3)")
        .bind(text(actor))
        .bind(text(action))
        .bind(text(subject))
        .execute(c)
        .await?;
    Ok(())
}

/// Adds a row for each of several dead letters.
pub(crate) async fn insert_dead(
    c: &mut PgConnection,
    actor: &str,
    action: &str,
    ids: &[i64],
) -> Result<(), Error> {
    sqlx::query(
        "insert into audit (actor, action, subject)
         select $1, $2, 'dead letter ' || id from unnest($3::bigint[]) as id order by id",
    )
    .bind(text(actor))
    .bind(action)
    .bind(ids)
    .execute(c)
    .await?;
    Ok(())
}

/// The newest rows, newest first.
pub(crate) async fn newest(c: &mut PgConnection, limit: u32) -> Result<Vec<AuditRow>, Error> {
    let rows =
        sqlx::query("select id, at, actor, action, subject from audit order by id desc limit $1")
            .bind(i64::from(limit))
            .fetch_all(c)
            .await?;
    rows.iter()
        .map(|row| {
            Ok(AuditRow {
                id: row.try_get("id")?,
                at: row.at("at")?,
                actor: row.try_get("actor")?,
                action: row.try_get("action")?,
                subject: row.try_get("subject")?,
            })
        })
        .collect()
}
