//! The table `attempts`: every failed attempt, and each successful attempt of a retry, a replay or
//! a deferred event.

use std::time::Duration;

use hookbox_driver::{AttemptRow, storable};
use hookbox_event::{EventNumber, RouteName};
use sqlx::sqlite::SqliteConnection;

use crate::column::Columns;

/// The value of the column `outcome` for a successful attempt. For a failed attempt, the column
/// holds the class of the failure instead.
pub(crate) const DONE: &str = "done";

/// One attempt to be written.
pub(crate) struct Made<'a> {
    pub(crate) route: &'a RouteName,
    pub(crate) event: EventNumber,
    pub(crate) attempt: u32,
    pub(crate) outcome: &'a str,
    pub(crate) error: Option<&'a str>,
    pub(crate) took: Duration,
}

/// Writes one attempt. A row that exists already is kept.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    made: &Made<'_>,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into attempts (route, event, attempt, outcome, error, took_ms, at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7) on conflict do nothing",
    )
    .bind(made.route.as_str())
    .bind(made.event.as_i64())
    .bind(made.attempt)
    .bind(made.outcome)
    .bind(made.error.map(storable))
    .bind(i64::try_from(made.took.as_millis()).unwrap_or(i64::MAX))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the recorded attempts on one event, ordered by route and by attempt number.
pub(crate) async fn of_event(
    connection: &mut SqliteConnection,
    event: EventNumber,
) -> sqlx::Result<Vec<AttemptRow>> {
    let rows = sqlx::query(
        "select a.route, a.attempt, a.outcome, a.error, a.took_ms, a.at
         from claims as c
         cross join attempts as a on a.route = c.route and a.event = c.event
         where c.event = ?1 order by a.route, a.attempt",
    )
    .bind(event.as_i64())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(AttemptRow {
                route: row.parsed("route")?,
                attempt: row.attempt("attempt")?,
                outcome: row.text("outcome")?,
                error: row.text_or_none("error")?,
                took_ms: row.count("took_ms")?,
                at: row.moment("at")?,
            })
        })
        .collect()
}
