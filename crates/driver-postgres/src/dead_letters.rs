//! The table `dead_letters`: events that a route has given up on.

use hookbox_driver::{
    DeadChange, DeadClaim, DeadFilter, DeadGroupId, DeadReason, DeadRow, DeadState,
};
use hookbox_event::{EventNumber, RouteName};
use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, claim_state, integer, text};
use crate::dead_filter::{bind, matching};

/// One dead letter to be written.
pub(crate) struct NewDeadLetter<'a> {
    pub event: EventNumber,
    pub reason: DeadReason,
    pub detail: &'a str,
    pub attempts: u32,
    /// The round of attempts in which the route gave up on the event.
    pub round: u32,
}

/// Writes dead letters, and an end for each. When the route gives up on an event again after a
/// replay, the event's row is kept and gets the new reason.
pub(crate) async fn put(
    c: &mut PgConnection,
    route: &RouteName,
    died: &[NewDeadLetter<'_>],
) -> Result<(), Error> {
    let events: Vec<i64> = died.iter().map(|died| died.event.as_i64()).collect();
    let reasons: Vec<&str> = died.iter().map(|died| died.reason.as_str()).collect();
    let details: Vec<_> = died.iter().map(|died| text(died.detail)).collect();
    let attempts: Vec<i32> = died.iter().map(|died| integer(died.attempts)).collect();
    let rounds: Vec<i32> = died.iter().map(|died| integer(died.round)).collect();
    // The group is computed from `detail` as it is stored, because `dead_groups::regroup` must get
    // the same group from the stored text alone.
    let group = |died: &NewDeadLetter<'_>| DeadGroupId::of(route, died.reason, &text(died.detail));
    let groups: Vec<String> = died.iter().map(|died| group(died).to_string()).collect();
    sqlx::query(
        "with died as materialized (
             select *
             from unnest($2::bigint[], $3::text[], $4::text[], $5::int[], $6::text[], $7::int[])
                 as died (event, reason, detail, attempts, group_id, round)
         ), ended as (
             insert into ends (ended_xid, event, round, attempts, route, outcome)
             select pg_current_xact_id(), event, round, attempts, $1, 'dead' from died
             order by event
         )
         insert into dead_letters (route, event, state, reason, detail, attempts, round, group_id,
                                   died_at, grouped_at)
         select $1, died.event, 'dead', died.reason, died.detail, died.attempts, died.round,
                died.group_id, now(), now()
         from died
         order by died.event
         on conflict (event, route) do update
         set state = 'dead', reason = excluded.reason, detail = excluded.detail,
             attempts = excluded.attempts, round = excluded.round,
             group_id = excluded.group_id, died_at = now(), grouped_at = now()",
    )
    .bind(route.as_str())
    .bind(events)
    .bind(reasons)
    .bind(details)
    .bind(attempts)
    .bind(groups)
    .bind(rounds)
    .execute(c)
    .await?;
    Ok(())
}

/// The dead letters that [`choose`] has locked: their ids, routes and events, in the same order.
pub(crate) struct ChosenDeadLetter {
    pub ids: Vec<i64>,
    pub routes: Vec<String>,
    pub events: Vec<EventNumber>,
}

/// Locks at most `limit` dead letters that match the filter and allow the change, in the order of
/// their ids.
pub(crate) async fn choose(
    c: &mut PgConnection,
    filter: &DeadFilter,
    change: DeadChange,
    limit: u32,
) -> Result<ChosenDeadLetter, Error> {
    let query = sqlx::query(concat!(
        "select d.id, d.route, d.event from dead_letters d join events e on e.number = d.event
         where ",
        matching!(),
        " and d.state = $11 and ($12 or d.reason <> 'undecodable')
           and (not $13 or exists (select from receipts r
                                   where r.event = d.event and r.route = d.route))
         order by d.id
         limit $14
         for update of d"
    ));
    let rows = bind(query, filter)
        .bind(change.from().as_str())
        .bind(change.takes_undecodable())
        .bind(change.needs_receipt())
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?;
    let mut chosen = ChosenDeadLetter {
        ids: Vec::with_capacity(rows.len()),
        routes: Vec::with_capacity(rows.len()),
        events: Vec::with_capacity(rows.len()),
    };
    for row in &rows {
        chosen.ids.push(row.try_get("id")?);
        chosen.routes.push(row.try_get("route")?);
        chosen.events.push(row.number("event")?);
    }
    Ok(chosen)
}

/// Changes the state of dead letters that this transaction has locked.
pub(crate) async fn change_state(
    c: &mut PgConnection,
    ids: &[i64],
    state: DeadState,
) -> Result<(), Error> {
    sqlx::query("update dead_letters set state = $2 where id = any ($1)")
        .bind(ids)
        .bind(state.as_str())
        .execute(c)
        .await?;
    Ok(())
}

/// Counts the dead letters that match a filter.
pub(crate) async fn count(c: &mut PgConnection, filter: &DeadFilter) -> Result<u64, Error> {
    let query = sqlx::query(concat!(
        "select count(*) as count from dead_letters d join events e on e.number = d.event where ",
        matching!()
    ));
    bind(query, filter).fetch_one(c).await?.count("count")
}

/// Lists dead letters with an id above `after`, in the order of their ids.
///
/// The server must read them in this order, until it has found enough. When the statistics of the
/// table are old, it expects few matching rows, and would rather read and sort all of them for each
/// page. So sorting is ruled out in this transaction.
pub(crate) async fn list(
    c: &mut PgConnection,
    filter: &DeadFilter,
    after: i64,
    limit: u32,
) -> Result<Vec<DeadRow>, Error> {
    sqlx::query("set local enable_sort = off")
        .execute(&mut *c)
        .await?;
    let query = sqlx::query(concat!(
        "select d.*, e.event_id, e.topic from dead_letters d join events e on e.number = d.event
         where ",
        matching!(),
        " and d.id > $11
         order by d.id
         limit $12"
    ));
    let rows = bind(query, filter)
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?;
    rows.iter().map(dead_row).collect()
}

/// Returns one dead letter by its id; `None` when no dead letter has this id.
pub(crate) async fn one(c: &mut PgConnection, id: i64) -> Result<Option<DeadRow>, Error> {
    let row = sqlx::query(
        "select d.*, e.event_id, e.topic from dead_letters d join events e on e.number = d.event
         where d.id = $1",
    )
    .bind(id)
    .fetch_optional(c)
    .await?;
    row.as_ref().map(dead_row).transpose()
}

/// Returns, for each of the given dead letters, the present state of its event on its route.
pub(crate) async fn claims(c: &mut PgConnection, ids: &[i64]) -> Result<Vec<DeadClaim>, Error> {
    let rows = sqlx::query(
        "select d.id, d.died_at, c.state from dead_letters d join claims c using (event, route)
         where d.id = any ($1) order by d.id",
    )
    .bind(ids)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(DeadClaim {
                id: row.try_get("id")?,
                died_at: row.moment("died_at")?,
                state: row.known("state", claim_state)?,
            })
        })
        .collect()
}

fn dead_row(row: &PgRow) -> Result<DeadRow, Error> {
    Ok(DeadRow {
        id: row.try_get("id")?,
        route: row.word("route", str::parse)?,
        event: row.event("event_id")?,
        topic: row.word("topic", str::parse)?,
        state: row.known("state", DeadState::parse)?,
        reason: row.known("reason", DeadReason::parse)?,
        detail: row.try_get("detail")?,
        attempts: row.attempt("attempts")?,
        died_at: row.moment("died_at")?,
    })
}
