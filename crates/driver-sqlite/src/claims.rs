//! The table `claims`: the state of each event on each route.

use std::collections::BTreeMap;

use hookbox_driver::{ClaimRow, ClaimState};
use hookbox_event::{EventNumber, RouteName};
use sqlx::sqlite::SqliteConnection;

use crate::column::{Columns, number_list, numbers};

/// The final state of a claim. The guard, which is the last statement before a commit, writes it.
pub(crate) struct Final {
    pub(crate) event: EventNumber,
    pub(crate) state: ClaimState,
    pub(crate) attempts: u32,
}

/// Inserts a claim for each of the given events on the given route. The caller holds the write lock
/// and has checked that none of the events has a claim, so an existing row is an error.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventNumber],
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into claims (event, route, state, attempts, claimed_at)
         select value, ?1, 'running', 0, ?3 from json_each(?2)",
    )
    .bind(route.as_str())
    .bind(numbers(events))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Sets the claims of events that wait for another attempt back to `running`.
pub(crate) async fn rerun(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventNumber],
) -> sqlx::Result<()> {
    sqlx::query(
        "update claims set state = 'running'
         where route = ?1 and state = 'retrying'
           and event in (select value from json_each(?2))",
    )
    .bind(route.as_str())
    .bind(numbers(events))
    .execute(connection)
    .await?;
    Ok(())
}

/// Withdraws running claims: deletes those of `fresh` events, and sets those of `granted` events
/// back to retrying. Returns how many claims were changed.
pub(crate) async fn withdraw(
    connection: &mut SqliteConnection,
    route: &RouteName,
    fresh: &[EventNumber],
    granted: &[EventNumber],
) -> sqlx::Result<u64> {
    let deleted = sqlx::query(
        "delete from claims
         where route = ?1 and event in (select value from json_each(?2)) and state = 'running'",
    )
    .bind(route.as_str())
    .bind(numbers(fresh))
    .execute(&mut *connection)
    .await?;
    let waiting = sqlx::query(
        "update claims set state = 'retrying'
         where route = ?1 and event in (select value from json_each(?2)) and state = 'running'",
    )
    .bind(route.as_str())
    .bind(numbers(granted))
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected() + waiting.rows_affected())
}

/// Runs the guard, the last statement before a commit: it changes running claims to their final
/// states, and returns how many running claims it found. The caller compares this number with the
/// number of its claims.
pub(crate) async fn end(
    connection: &mut SqliteConnection,
    route: &RouteName,
    finals: &[Final],
) -> sqlx::Result<u64> {
    let now = crate::moment::now();
    let mut by_end: BTreeMap<(&str, u32), Vec<EventNumber>> = BTreeMap::new();
    for one in finals {
        let end = (one.state.as_str(), one.attempts);
        by_end.entry(end).or_default().push(one.event);
    }
    let mut found = 0;
    // One statement per group of claims with the same final state and number of attempts. There is
    // nearly always one group: done at the first attempt. A single statement that joins the claims
    // with a list of their final states would make SQLite read every claim of the route.
    for ((state, attempts), events) in by_end {
        let done = sqlx::query(
            "update claims set state = ?3, attempts = ?4, settled_at = ?5
             where route = ?1 and event in (select value from json_each(?2))
               and state = 'running'",
        )
        .bind(route.as_str())
        .bind(number_list(events.into_iter().map(EventNumber::as_i64)))
        .bind(state)
        .bind(attempts)
        .bind(now)
        .execute(&mut *connection)
        .await?;
        found += done.rows_affected();
    }
    Ok(found)
}

/// Writes the state of one event, outside a batch: after a failure, or for undecodable bytes.
pub(crate) async fn put(
    connection: &mut SqliteConnection,
    route: &RouteName,
    event: EventNumber,
    state: ClaimState,
    attempts: u32,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into claims (route, event, state, attempts, claimed_at, settled_at)
         values (?1, ?2, ?3, ?4, ?5, ?5)
         on conflict (event, route) do update
         set state = excluded.state, attempts = excluded.attempts,
             settled_at = excluded.settled_at",
    )
    .bind(route.as_str())
    .bind(event.as_i64())
    .bind(state.as_str())
    .bind(attempts)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// The statement of [`revive`]. `CROSS JOIN` makes SQLite read the list first, and then search each
/// dead letter.
pub(crate) const REVIVE: &str = "update claims set state = 'retrying', settled_at = ?2
     where state = 'dead' and (event, route) in (
         select d.event, d.route from json_each(?1) as chosen
         cross join dead_letters as d on d.id = chosen.value)";

/// Makes the events of these dead letters wait for one further attempt. The attempts already made
/// stay counted.
pub(crate) async fn revive(
    connection: &mut SqliteConnection,
    dead_letters: &[i64],
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(REVIVE)
        .bind(number_list(dead_letters.iter().copied()))
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns the state of one event on every route.
pub(crate) async fn of_event(
    connection: &mut SqliteConnection,
    event: EventNumber,
) -> sqlx::Result<Vec<ClaimRow>> {
    let rows = sqlx::query(
        "select route, state, attempts, claimed_at, settled_at
         from claims where event = ?1 order by route",
    )
    .bind(event.as_i64())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ClaimRow {
                route: row.parsed("route")?,
                state: row.claim_state("state")?,
                attempts: row.attempt("attempts")?,
                claimed_at: row.moment("claimed_at")?,
                settled_at: row.moment_or_none("settled_at")?,
            })
        })
        .collect()
}
