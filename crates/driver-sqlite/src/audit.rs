//! The table `audit`: what operators have changed, and which data they have read, such as bodies.
//! Rows are only ever added.

use hookbox_driver::{AuditFilter, AuditRow, storable};
use hookbox_event::{EventId, RouteName, Timestamp};
use sqlx::sqlite::SqliteConnection;

use crate::column::{Columns, hex_list, json_list};

/// Adds a row for one action of an operator.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    actor: &str,
    action: &str,
    subject: &str,
) -> sqlx::Result<()> {
    sqlx::query("insert into audit (at, actor, action, subject) values (?1, ?2, ?3, ?4)")
        .bind(crate::moment::now())
        .bind(storable(actor))
        .bind(storable(action))
        .bind(storable(subject))
        .execute(connection)
        .await?;
    Ok(())
}

/// Adds one audit row for each of the given dead letters.
pub(crate) async fn insert_dead(
    connection: &mut SqliteConnection,
    actor: &str,
    action: &str,
    ids: &[i64],
) -> sqlx::Result<()> {
    let subjects = ids.iter().map(|id| format!("dead letter {id}"));
    insert_all(connection, actor, action, subjects).await
}

/// Adds one audit row for each subject, which names what the operator has changed or read. A
/// subject must contain no character that JSON escapes.
pub(crate) async fn insert_all(
    connection: &mut SqliteConnection,
    actor: &str,
    action: &str,
    subjects: impl IntoIterator<Item = String>,
) -> sqlx::Result<()> {
    let subjects = subjects.into_iter().map(|it| format!("\"{it}\""));
    sqlx::query(
        "insert into audit (at, actor, action, subject)
         select ?1, ?2, ?3, value from json_each(?4) order by key",
    )
    .bind(crate::moment::now())
    .bind(storable(actor))
    .bind(action)
    .bind(json_list(subjects))
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds one audit row for each of the given events, which an operator has replayed on a route.
pub(crate) async fn insert_replayed(
    connection: &mut SqliteConnection,
    actor: &str,
    events: &[EventId],
    route: &RouteName,
    why: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into audit (at, actor, action, subject)
         select ?1, ?2, 'event.replay', 'event ' || value || ' on route ' || ?4 || ': ' || ?5
         from json_each(?3) order by key",
    )
    .bind(crate::moment::now())
    .bind(storable(actor))
    .bind(hex_list(events.iter().map(EventId::as_bytes)))
    .bind(route.as_str())
    .bind(storable(why))
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns audit rows with an id below `before` that match a filter, newest first.
pub(crate) async fn list(
    connection: &mut SqliteConnection,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: u32,
) -> sqlx::Result<Vec<AuditRow>> {
    let rows = sqlx::query(
        "select id, at, actor, action, subject from audit
         where id < ?1 and (?2 is null or actor = ?2) and (?3 is null or action = ?3)
           and (?4 is null or at >= ?4) and (?5 is null or at < ?5)
         order by id desc limit ?6",
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
