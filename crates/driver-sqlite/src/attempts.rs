//! The table `attempts`: every failed attempt, every successful external call, and each successful
//! attempt of a retry, a replay or a deferred event.

use std::time::Duration;

use hookbox_driver::{AttemptRow, storable};
use hookbox_event::{EventNumber, RouteName};
use sqlx::sqlite::SqliteConnection;

use crate::column::{Columns, json_list};

/// The value of the column `outcome` for a successful attempt. For a failed attempt, the column
/// holds the class of the failure instead.
const DONE: &str = "done";

/// Records a failed attempt. If the attempt is recorded already, its row is kept as it is.
pub(crate) async fn insert_failed(
    connection: &mut SqliteConnection,
    (route, event, attempt): (&RouteName, EventNumber, u32),
    class: &'static str,
    error: &str,
    took: Duration,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into attempts (route, event, attempt, outcome, error, took_ms, at)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7) on conflict do nothing",
    )
    .bind(route.as_str())
    .bind(event.as_i64())
    .bind(attempt)
    .bind(class)
    .bind(storable(error))
    .bind(millis(took))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Records successful attempts: for each one its event, its attempt number and its duration.
pub(crate) async fn insert_done(
    connection: &mut SqliteConnection,
    route: &RouteName,
    done: &[(EventNumber, u32, Duration)],
    now: i64,
) -> sqlx::Result<()> {
    let done = done.iter().map(|(event, attempt, took)| {
        let (event, took_ms) = (event.as_i64(), millis(*took));
        format!("[{event},{attempt},{took_ms}]")
    });
    sqlx::query(
        "insert into attempts (route, event, attempt, outcome, took_ms, at)
         select ?1, value ->> 0, value ->> 1, ?3, value ->> 2, ?4 from json_each(?2)
         where true on conflict do nothing",
    )
    .bind(route.as_str())
    .bind(json_list(done))
    .bind(DONE)
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

fn millis(took: Duration) -> i64 {
    i64::try_from(took.as_millis()).unwrap_or(i64::MAX)
}
