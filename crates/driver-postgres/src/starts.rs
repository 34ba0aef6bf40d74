//! The table `starts`: handlers that were started, and of which nobody has heard since.

use std::collections::HashMap;

use hookbox_event::{EventId, RouteName};
use sqlx::{Error, PgConnection};

use crate::column::Columns;

/// How often each of these was started, in the order given.
pub(crate) async fn of_events(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventId],
) -> Result<Vec<u32>, Error> {
    let rows =
        sqlx::query("select event_id, starts from starts where route = $1 and event_id = any ($2)")
            .bind(route.as_str())
            .bind(ids(events))
            .fetch_all(c)
            .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        found.insert(row.event("event_id")?, row.attempt("starts")?);
    }
    let of = |event| found.get(event).copied().unwrap_or(0);
    Ok(events.iter().map(of).collect())
}

/// Counts one more start of each, in the order of their ids.
pub(crate) async fn count(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventId],
) -> Result<(), Error> {
    sqlx::query(
        "insert into starts (route, event_id, starts)
         select $1, started.event_id, 1 from unnest($2::bytea[]) as started (event_id)
         order by started.event_id
         on conflict (event_id, route) do update
         set starts = least(starts.starts, 2147483646) + 1, started_at = now()",
    )
    .bind(route.as_str())
    .bind(ids(events))
    .execute(c)
    .await?;
    Ok(())
}

/// Forgets the starts of these, in the order of their ids.
pub(crate) async fn forget(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventId],
) -> Result<(), Error> {
    sqlx::query(
        "delete from starts using (
             select event_id from starts where route = $1 and event_id = any ($2)
             order by event_id for update
         ) as survived
         where starts.route = $1 and starts.event_id = survived.event_id",
    )
    .bind(route.as_str())
    .bind(ids(events))
    .execute(c)
    .await?;
    Ok(())
}

fn ids(events: &[EventId]) -> Vec<&[u8; 32]> {
    events.iter().map(EventId::as_bytes).collect()
}
