//! Groups the rows of the table `dead_letters` by route, reason and cause.

use hookbox_driver::{DeadFilter, DeadGroup, DeadGroupId, DeadReason};
use hookbox_event::RouteName;
use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection, Row};

use crate::column::Columns;
use crate::dead_filter::{bind, matching};

/// Groups dead letters by route, reason and cause; the largest group comes first.
pub(crate) async fn groups(
    c: &mut PgConnection,
    filter: &DeadFilter,
) -> Result<Vec<DeadGroup>, Error> {
    let query = sqlx::query(concat!(
        "select g.*, newest.detail
         from (select d.group_id, d.route, d.reason, min(e.topic) as topic,
                      count(distinct e.topic) as topics, count(*) as count,
                      min(d.died_at) as first_at, max(d.died_at) as last_at, max(d.id) as newest
               from dead_letters d join events e on e.number = d.event
               where ",
        matching!(),
        " group by 1, 2, 3) g
         join dead_letters newest on newest.id = g.newest
         order by g.count desc, g.route, g.reason, g.group_id"
    ));
    let rows = bind(query, filter).fetch_all(c).await?;
    rows.iter().map(group).collect()
}

fn group(row: &PgRow) -> Result<DeadGroup, Error> {
    let route: RouteName = row.word("route", str::parse)?;
    let reason = row.known("reason", DeadReason::parse)?;
    let detail: String = row.try_get("detail")?;
    Ok(DeadGroup {
        id: DeadGroupId::of(&route, reason, &detail),
        topic: row.word("topic", str::parse)?,
        topics: row.count("topics")?,
        count: row.count("count")?,
        first_at: row.moment("first_at")?,
        last_at: row.moment("last_at")?,
        newest: row.try_get("newest")?,
        route,
        reason,
        detail,
    })
}

/// Assigns groups to at most `limit` dead letters that were written by an older hookbox, which
/// knows no groups. Returns how many dead letters it changed.
pub(crate) async fn regroup(c: &mut PgConnection, limit: u32) -> Result<u64, Error> {
    let rows = sqlx::query(
        "select id, route, reason, detail from dead_letters
         where grouped_at is distinct from died_at
         order by id
         limit $1
         for update",
    )
    .bind(i64::from(limit))
    .fetch_all(&mut *c)
    .await?;
    let mut ids: Vec<i64> = Vec::with_capacity(rows.len());
    let mut groups = Vec::with_capacity(rows.len());
    for row in &rows {
        let route: RouteName = row.word("route", str::parse)?;
        let reason = row.known("reason", DeadReason::parse)?;
        let group = DeadGroupId::of(&route, reason, row.try_get("detail")?);
        ids.push(row.try_get("id")?);
        groups.push(group.to_string());
    }
    sqlx::query(
        "update dead_letters set group_id = chosen.group_id, grouped_at = died_at
         from unnest($1::bigint[], $2::text[]) as chosen (id, group_id)
         where dead_letters.id = chosen.id",
    )
    .bind(ids)
    .bind(groups)
    .execute(c)
    .await?;
    Ok(rows.len() as u64)
}
