//! Lists events on routes, page by page.

use hookbox_driver::{ClaimState, EventCursor, EventFilter, EventRow};
use hookbox_event::{RouteName, SourceName, Topic};
use sqlx::{Error, PgConnection};

use crate::claim_states::{self, evidence, orphaned};
use crate::column::{Columns, moment};

/// Lists events on routes, newest first. It reads along the index over `received_at`, so the last
/// page costs as much as the first. To find events by the text of an error, it counts the matching
/// rows with `count(*) > 0` instead of `exists`, because PostgreSQL may evaluate `exists` with a
/// hash of the whole table.
pub(crate) async fn list(
    c: &mut PgConnection,
    filter: &EventFilter,
    after: Option<&EventCursor>,
    limit: u32,
) -> Result<Vec<EventRow>, Error> {
    let rows = sqlx::query(concat!(
        "select e.event_id, e.topic, c.route, e.received_at, c.settled_at, ",
        evidence!(),
        " from events e join claims c on c.event = e.number
         where ($1::text is null or c.route = $1)
           and ($2::text is null or e.topic = $2)
           and ($3::text is null or $3 = case when ",
        orphaned!(),
        " then 'running' else c.state end)
           and ($4::text is null or e.source = $4)
           and ($5::timestamptz is null or e.received_at >= $5)
           and ($6::timestamptz is null or e.received_at < $6)
           and ($7::text is null
                or (select count(*) from attempts a
                    where a.event = c.event and a.route = c.route
                      and position($7 in a.error) > 0) > 0
                or (select count(*) from dead_letters d
                    where d.event = c.event and d.route = c.route
                      and position($7 in d.detail) > 0) > 0)
           and ($8::timestamptz is null
                or e.received_at <= $8
                   and (e.received_at < $8 or (e.event_id, c.route) > ($9::bytea, $10::text)))
         order by e.received_at desc, e.event_id, c.route
         limit $11",
    ))
    .bind(filter.route.as_ref().map(RouteName::as_str))
    .bind(filter.topic.as_ref().map(Topic::as_str))
    .bind(filter.state.map(ClaimState::as_str))
    .bind(filter.source.as_ref().map(SourceName::as_str))
    .bind(filter.since.map(moment))
    .bind(filter.until.map(moment))
    .bind(filter.error.as_deref())
    .bind(after.map(|after| moment(after.at)))
    .bind(after.map(|after| after.event.as_bytes()))
    .bind(after.map(|after| after.route.as_str()))
    .bind(i64::from(limit))
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            let (state, attempts) = claim_states::counted(row)?;
            Ok(EventRow {
                event: row.event("event_id")?,
                topic: row.word("topic", str::parse)?,
                route: row.word("route", str::parse)?,
                state,
                attempts,
                received_at: row.moment("received_at")?,
                settled_at: row.moment_or_none("settled_at")?,
            })
        })
        .collect()
}
