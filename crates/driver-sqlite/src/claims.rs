//! The table `claims`: the state of each event on each route.

use std::collections::{BTreeMap, HashMap};

use hookbox_driver::{ClaimRow, ClaimState};
use hookbox_event::{EventNumber, RouteName};
use sqlx::sqlite::SqliteConnection;

use crate::claim_states::{self, evidence};
use crate::column::{Columns, number_list, numbers};
use crate::meta::receipts_kept_from;

/// The state and the number of attempts with which the claim of a first attempt is inserted.
const INSERTED: (ClaimState, u32) = (ClaimState::Done, 1);

/// The final state of a claim. The guard, the last step before a commit, writes this state or finds
/// that it is already written.
pub(crate) struct Final {
    pub(crate) event: EventNumber,
    /// The state in which this transaction has written the claim.
    pub(crate) written: ClaimState,
    pub(crate) state: ClaimState,
    pub(crate) attempts: u32,
}

/// Inserts a claim for each of the given events on the given route. The caller holds the write lock
/// and has checked that none of the events has a claim, so an existing row is an error.
///
/// A claim is inserted as done at attempt 1, before the handler runs. Nearly all claims end in this
/// state, so their rows need no second write. hookbox commits such a claim only together with the
/// receipt that ends it. So if this receipt is missing, a handler has committed the claim; see
/// [`hookbox_driver::ClaimEvidence`].
///
/// If receipts of an event may have been dropped, a missing receipt proves nothing. So the claim of
/// such an event is inserted as running, and gets its final state before the commit. Returns the
/// state in which each claim is inserted.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventNumber],
    now: i64,
) -> sqlx::Result<HashMap<EventNumber, ClaimState>> {
    let rows = sqlx::query(concat!(
        "insert into claims (event, route, state, attempts, claimed_at, settled_at)
         select value, ?1, case when is_final then ?4 else 'running' end,
                case when is_final then ?5 else 0 end, ?3, case when is_final then ?3 end
         from (select value, value >= ",
        receipts_kept_from!(),
        " as is_final from json_each(?2))
         returning event, state"
    ))
    .bind(route.as_str())
    .bind(numbers(events))
    .bind(now)
    .bind(INSERTED.0.as_str())
    .bind(INSERTED.1)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok((row.event_number("event")?, row.claim_state("state")?)))
        .collect()
}

/// Sets claims back to running, because another attempt on each of their events starts now.
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

/// Withdraws claims that this transaction has made: deletes the claims of `fresh` events, and sets
/// those of `granted` events back to retrying. Returns how many claims it has changed.
pub(crate) async fn withdraw(
    connection: &mut SqliteConnection,
    route: &RouteName,
    fresh: &[EventNumber],
    granted: &[EventNumber],
) -> sqlx::Result<u64> {
    let deleted = sqlx::query(
        "delete from claims
         where route = ?1 and event in (select value from json_each(?2))
           and state in ('running', 'done')",
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

/// Runs the guard, the last step before a commit. It counts the claims that were inserted in their
/// final state, and changes every other claim to its final state. It skips a claim that is no
/// longer as this transaction has written it. Returns how many claims it has counted or changed. If
/// the caller has more claims than that, a handler has changed some.
pub(crate) async fn end(
    connection: &mut SqliteConnection,
    route: &RouteName,
    finals: &[Final],
) -> sqlx::Result<u64> {
    let mut inserted = Vec::with_capacity(finals.len());
    let mut by_end: BTreeMap<(&str, &str, u32), Vec<EventNumber>> = BTreeMap::new();
    for one in finals {
        if one.written == INSERTED.0 && (one.state, one.attempts) == INSERTED {
            inserted.push(one.event);
        } else {
            let end = (one.written.as_str(), one.state.as_str(), one.attempts);
            by_end.entry(end).or_default().push(one.event);
        }
    }
    let mut found = 0;
    if !inserted.is_empty() {
        found += count_inserted(connection, route, &inserted).await?;
    }
    let now = crate::moment::now();
    // One statement per group of claims with the same states and number of attempts. A single
    // statement that joins the claims with a list of their final states would make SQLite read
    // every claim of the route.
    for ((written, state, attempts), events) in by_end {
        let done = sqlx::query(
            "update claims set state = ?3, attempts = ?4, settled_at = ?5
             where route = ?1 and event in (select value from json_each(?2))
               and state = ?6",
        )
        .bind(route.as_str())
        .bind(number_list(events.into_iter().map(EventNumber::as_i64)))
        .bind(state)
        .bind(attempts)
        .bind(now)
        .bind(written)
        .execute(&mut *connection)
        .await?;
        found += done.rows_affected();
    }
    Ok(found)
}

/// The statement that counts the claims that are still as [`insert`] has written them.
pub(crate) const COUNT_INSERTED: &str = "select count(*) as found from claims
     where route = ?1 and event in (select value from json_each(?2))
       and state = ?3 and attempts = ?4";

async fn count_inserted(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventNumber],
) -> sqlx::Result<u64> {
    let row = sqlx::query(COUNT_INSERTED)
        .bind(route.as_str())
        .bind(numbers(events))
        .bind(INSERTED.0.as_str())
        .bind(INSERTED.1)
        .fetch_one(connection)
        .await?;
    row.count("found")
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

/// The statement of [`revive`]. `CROSS JOIN` makes SQLite read the list of ids first, and then look
/// up each dead letter.
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

/// Makes done events wait for one further attempt. The attempts already made stay counted.
pub(crate) async fn reopen(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventNumber],
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "update claims set state = 'retrying', settled_at = ?3
         where route = ?1 and event in (select value from json_each(?2)) and state = 'done'",
    )
    .bind(route.as_str())
    .bind(numbers(events))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Inserts claims in the state `retrying` for events that the route has not had before.
pub(crate) async fn insert_waiting(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventNumber],
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into claims (route, event, state, attempts, claimed_at, settled_at)
         select ?1, value, 'retrying', 0, ?3, ?3 from json_each(?2)",
    )
    .bind(route.as_str())
    .bind(numbers(events))
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
    let rows = sqlx::query(concat!(
        "select c.route, c.claimed_at, c.settled_at, c.epoch, ",
        evidence!(),
        " from claims as c where c.event = ?1 order by c.route"
    ))
    .bind(event.as_i64())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let (state, attempts) = claim_states::counted(row)?;
            Ok(ClaimRow {
                route: row.parsed("route")?,
                state,
                attempts,
                claimed_at: row.moment("claimed_at")?,
                settled_at: row.moment_or_none("settled_at")?,
                epoch: row.attempt_or_none("epoch")?,
            })
        })
        .collect()
}
