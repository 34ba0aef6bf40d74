//! The table `audit`: what operators have changed, and which data they have read, such as bodies.
//! Rows are only ever added.

use hookbox_driver::{AuditFilter, AuditRow};
use hookbox_event::{EventId, RouteName};
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, moment, text};

/// Adds a row for one action of an operator.
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

/// Adds one audit row for each of the given dead letters.
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

/// Adds one audit row for each of the given events, which an operator has replayed on a route.
pub(crate) async fn insert_replayed(
    c: &mut PgConnection,
    actor: &str,
    events: &[EventId],
    route: &RouteName,
    why: &str,
) -> Result<(), Error> {
    let events: Vec<&[u8; 16]> = events.iter().map(EventId::as_bytes).collect();
    sqlx::query(
        "insert into audit (actor, action, subject)
         select $1, 'event.replay',
                'event ' || encode(event, 'hex') || ' on route ' || $3 || ': ' || $4
         from unnest($2::bytea[]) with ordinality as replayed (event, position)
         order by position",
    )
    .bind(text(actor))
    .bind(events)
    .bind(route.as_str())
    .bind(text(why))
    .execute(c)
    .await?;
    Ok(())
}

/// Returns audit rows with an id below `before` that match a filter, newest first.
pub(crate) async fn list(
    c: &mut PgConnection,
    filter: &AuditFilter,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<AuditRow>, Error> {
    let rows = sqlx::query(
        "select id, at, actor, action, subject from audit
         where ($1::text is null or actor = $1)
           and ($2::text is null or action = $2)
           and ($3::timestamptz is null or at >= $3)
           and ($4::timestamptz is null or at < $4)
           and ($5::bigint is null or id < $5)
         order by id desc limit $6",
    )
    .bind(filter.actor.as_deref())
    .bind(filter.action.as_deref())
    .bind(filter.since.map(moment))
    .bind(filter.until.map(moment))
    .bind(before)
    .bind(i64::from(limit))
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(AuditRow {
                id: row.try_get("id")?,
                at: row.moment("at")?,
                actor: row.try_get("actor")?,
                action: row.try_get("action")?,
                subject: row.try_get("subject")?,
            })
        })
        .collect()
}
