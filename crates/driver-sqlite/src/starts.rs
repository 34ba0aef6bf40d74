//! The table `starts`: handlers that were started, and of which nobody has heard since.

use std::collections::HashMap;

use hookbox_event::{EventId, RouteName};
use sqlx::QueryBuilder;
use sqlx::sqlite::SqliteConnection;

use crate::column::{Columns, hex_list};

/// How often each of these was started, in the order given.
pub(crate) async fn of_events(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventId],
) -> sqlx::Result<Vec<u32>> {
    let rows = sqlx::query(
        "SELECT event_id, starts FROM starts
         WHERE route = ?1 AND event_id IN (SELECT unhex(value) FROM json_each(?2))",
    )
    .bind(route.as_str())
    .bind(hex_list(events.iter().map(EventId::as_bytes)))
    .fetch_all(connection)
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in &rows {
        found.insert(row.event("event_id")?, row.small("starts")?);
    }
    let of = |event| found.get(event).copied().unwrap_or(0);
    Ok(events.iter().map(of).collect())
}

/// Counts one more start of each.
pub(crate) async fn count(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventId],
    now: i64,
) -> sqlx::Result<()> {
    for events in events.chunks(crate::ROWS_MAX) {
        let mut insert = QueryBuilder::<sqlx::Sqlite>::new(
            "INSERT INTO starts (route, event_id, starts, started_at) ",
        );
        insert.push_values(events, |mut row, event| {
            row.push_bind(route.as_str())
                .push_bind(&event.as_bytes()[..])
                .push_bind(1_i64)
                .push_bind(now);
        });
        insert.push(
            " ON CONFLICT (event_id, route) DO UPDATE
             SET starts = starts.starts + 1, started_at = excluded.started_at",
        );
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Forgets the starts of these.
pub(crate) async fn forget(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventId],
) -> sqlx::Result<()> {
    sqlx::query(
        "DELETE FROM starts
         WHERE route = ?1 AND event_id IN (SELECT unhex(value) FROM json_each(?2))",
    )
    .bind(route.as_str())
    .bind(hex_list(events.iter().map(EventId::as_bytes)))
    .execute(connection)
    .await?;
    Ok(())
}
