//! The table `attempts`: every failed attempt, every successful external call, and each successful
//! attempt of a retry, a replay or a deferred event.

use std::time::Duration;

use hookbox_driver::AttemptRow;
use hookbox_event::{EventNumber, RouteName};
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, bigint, integer, text};

/// The value of the column `outcome` for a successful attempt. For a failed attempt, the column
/// holds the class of the failure instead.
const DONE: &str = "done";

/// Records a failed attempt. If the attempt is recorded already, its row is kept as it is.
pub(crate) async fn insert_failed(
    c: &mut PgConnection,
    (route, event, attempt): (&RouteName, EventNumber, u32),
    class: &'static str,
    error: &str,
    took: Duration,
) -> Result<(), Error> {
    sqlx::query(
        "insert into attempts (route, event, attempt, outcome, error, took_ms)
         values ($1, $2, $3, $4, $5, $6)
         on conflict do nothing",
    )
    .bind(route.as_str())
    .bind(event.as_i64())
    .bind(integer(attempt).max(1))
    .bind(class)
    .bind(text(error))
    .bind(millis(took))
    .execute(c)
    .await?;
    Ok(())
}

/// Records successful attempts: for each one its event, its attempt number and its duration.
pub(crate) async fn insert_done(
    c: &mut PgConnection,
    route: &RouteName,
    done: &[(EventNumber, u32, Duration)],
) -> Result<(), Error> {
    let events: Vec<i64> = done.iter().map(|(event, ..)| event.as_i64()).collect();
    let numbers: Vec<i32> = done
        .iter()
        .map(|(_, attempt, _)| integer(*attempt).max(1))
        .collect();
    let took: Vec<i64> = done.iter().map(|(.., took)| millis(*took)).collect();
    sqlx::query(
        "insert into attempts (route, event, attempt, outcome, took_ms)
         select $1, done.event, done.attempt, $5, done.took_ms
         from unnest($2::bigint[], $3::int[], $4::bigint[]) as done (event, attempt, took_ms)
         on conflict do nothing",
    )
    .bind(route.as_str())
    .bind(events)
    .bind(numbers)
    .bind(took)
    .bind(DONE)
    .execute(c)
    .await?;
    Ok(())
}

/// Returns the recorded attempts on one event, ordered by route and by attempt number.
pub(crate) async fn of_event(
    c: &mut PgConnection,
    event: EventNumber,
) -> Result<Vec<AttemptRow>, Error> {
    let rows = sqlx::query(
        "select route, attempt, outcome, error, took_ms, at
         from attempts where event = $1 order by route, attempt",
    )
    .bind(event.as_i64())
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(AttemptRow {
                route: row.word("route", str::parse)?,
                attempt: row.attempt("attempt")?,
                outcome: row.try_get("outcome")?,
                error: row.try_get("error")?,
                took_ms: row.count("took_ms")?,
                at: row.moment("at")?,
            })
        })
        .collect()
}

fn millis(took: Duration) -> i64 {
    bigint(u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
}
