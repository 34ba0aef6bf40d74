//! Groups the rows of the table `dead_letters` by route, reason and cause.

use hookbox_driver::{DeadFilter, DeadGroup, DeadGroupId};
use hookbox_event::RouteName;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row};

use crate::column::{Columns, json_list};
use crate::dead_filter;

/// The start of the statement that lists groups, up to its `WHERE`.
const GROUPS: &str = "select g.*, newest.detail
     from (select d.group_id, d.route, d.reason, min(e.topic) as topic,
                  count(distinct e.topic) as topics, count(*) as total,
                  min(d.died_at) as first_at, max(d.died_at) as last_at, max(d.id) as newest
           from dead_letters as d join events as e on e.number = d.event";

/// The end of the statement that lists groups, after the conditions.
const GROUPED: &str = " group by 1, 2, 3) as g
     join dead_letters as newest on newest.id = g.newest
     order by g.total desc, g.route, g.reason, g.group_id";

/// Groups dead letters by route, reason and cause; the largest group comes first.
pub(crate) async fn groups(
    connection: &mut SqliteConnection,
    filter: &DeadFilter,
) -> sqlx::Result<Vec<DeadGroup>> {
    let mut select = QueryBuilder::new(GROUPS);
    dead_filter::push(&mut select, filter, 0);
    select.push(GROUPED);
    let rows = select.build().fetch_all(connection).await?;
    rows.iter().map(group).collect()
}

fn group(row: &SqliteRow) -> sqlx::Result<DeadGroup> {
    let route: RouteName = row.parsed("route")?;
    let reason = row.dead_reason("reason")?;
    let detail = row.text("detail")?;
    Ok(DeadGroup {
        id: DeadGroupId::of(&route, reason, &detail),
        topic: row.parsed("topic")?,
        topics: row.count("topics")?,
        count: row.count("total")?,
        first_at: row.moment("first_at")?,
        last_at: row.moment("last_at")?,
        newest: row.try_get("newest")?,
        route,
        reason,
        detail,
    })
}

/// The statement of [`regroup`].
pub(crate) const REGROUP: &str = "with chosen as (
         select value ->> 0 as id, value ->> 1 as group_id from json_each(?1))
     update dead_letters set group_id = chosen.group_id, grouped_at = died_at
     from chosen where dead_letters.id = chosen.id";

/// Assigns groups to at most `limit` dead letters that were written by an older hookbox, which
/// knows no groups. Returns how many dead letters it changed.
pub(crate) async fn regroup(connection: &mut SqliteConnection, limit: u32) -> sqlx::Result<u64> {
    let rows = sqlx::query(
        "select id, route, reason, detail from dead_letters
         where grouped_at is not died_at order by id limit ?1",
    )
    .bind(limit)
    .fetch_all(&mut *connection)
    .await?;
    let mut chosen = Vec::with_capacity(rows.len());
    for row in &rows {
        let route: RouteName = row.parsed("route")?;
        let reason = row.dead_reason("reason")?;
        let group = DeadGroupId::of(&route, reason, &row.text("detail")?);
        let id: i64 = row.try_get("id")?;
        chosen.push(format!("[{id},\"{group}\"]"));
    }
    sqlx::query(REGROUP)
        .bind(json_list(chosen))
        .execute(connection)
        .await?;
    Ok(rows.len() as u64)
}
