//! The table `dead_letters`: events that a route has given up on.

use hookbox_driver::{
    DeadChange, DeadClaim, DeadFilter, DeadGroupId, DeadReason, DeadRow, DeadState, EndOutcome,
    storable,
};
use hookbox_event::{EventNumber, RouteName};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row};

use crate::column::{Columns, number_list};
use crate::dead_filter;
use crate::ends::{self, NewEnd};

/// The start of the statement that lists dead letters, up to its `WHERE`.
const ROWS: &str = "select d.id, d.route, e.event_id, e.topic, d.state, d.reason, d.detail,
     d.attempts, d.died_at
     from dead_letters as d join events as e on e.number = d.event";

/// One dead letter to be written.
pub(crate) struct NewDeadLetter<'a> {
    pub(crate) event: EventNumber,
    pub(crate) reason: DeadReason,
    pub(crate) detail: &'a str,
    pub(crate) attempts: u32,
    /// The round of attempts in which the route gave up on the event.
    pub(crate) round: u32,
}

/// Writes dead letters, and an end for each. When the route gives up on an event again after a
/// replay, the event's row is kept and gets the new reason.
pub(crate) async fn put(
    connection: &mut SqliteConnection,
    route: &RouteName,
    died: &[NewDeadLetter<'_>],
    now: i64,
) -> sqlx::Result<()> {
    for died in died.chunks(crate::ROWS_MAX) {
        let mut insert = QueryBuilder::<sqlx::Sqlite>::new(
            "insert into dead_letters
             (route, event, state, reason, detail, attempts, round, died_at, group_id, grouped_at) ",
        );
        insert.push_values(died, |mut row, death| {
            // The group is computed from `detail` as it is stored, because `dead_groups::regroup`
            // must get the same group from the stored text alone.
            let detail = storable(death.detail);
            let group = DeadGroupId::of(route, death.reason, &detail);
            row.push_bind(route.as_str())
                .push_bind(death.event.as_i64())
                .push_bind(DeadState::Dead.as_str())
                .push_bind(death.reason.as_str())
                .push_bind(detail)
                .push_bind(death.attempts)
                .push_bind(death.round)
                .push_bind(now)
                .push_bind(group.to_string())
                .push_bind(now);
        });
        insert.push(
            " on conflict (event, route) do update
             set state = 'dead', reason = excluded.reason, detail = excluded.detail,
                 attempts = excluded.attempts, round = excluded.round,
                 died_at = excluded.died_at, group_id = excluded.group_id,
                 grouped_at = excluded.grouped_at",
        );
        insert.build().execute(&mut *connection).await?;
    }
    let end = |died: &NewDeadLetter<'_>| NewEnd {
        event: died.event,
        outcome: EndOutcome::Dead,
        round: died.round,
        attempts: died.attempts,
    };
    ends::insert(connection, route, died.iter().map(end), now).await
}

/// Returns the ids of at most `limit` dead letters that match the filter and allow the change, in
/// ascending order.
pub(crate) async fn choose(
    connection: &mut SqliteConnection,
    filter: &DeadFilter,
    change: DeadChange,
    limit: u32,
) -> sqlx::Result<Vec<i64>> {
    let mut select = QueryBuilder::new(
        "select d.id from dead_letters as d join events as e on e.number = d.event",
    );
    dead_filter::push(&mut select, filter, 0);
    select
        .push(" and d.state = ")
        .push_bind(change.from().as_str());
    if !change.takes_undecodable() {
        select
            .push(" and d.reason <> ")
            .push_bind(DeadReason::Undecodable.as_str());
    }
    if change.needs_receipt() {
        select.push(
            " and exists (select 1 from receipts as r
               where r.route = d.route and r.event = d.event)",
        );
    }
    if change == DeadChange::Replay {
        // Only a dead event can be made due.
        select.push(
            " and exists (select 1 from claims as c
               where c.event = d.event and c.route = d.route and c.state = 'dead')",
        );
    }
    select.push(" order by d.id limit ").push_bind(limit);
    let rows = select.build().fetch_all(connection).await?;
    rows.iter().map(|row| row.try_get("id")).collect()
}

/// Changes the state of dead letters.
pub(crate) async fn change_state(
    connection: &mut SqliteConnection,
    ids: &[i64],
    state: DeadState,
) -> sqlx::Result<()> {
    sqlx::query("update dead_letters set state = ?2 where id in (select value from json_each(?1))")
        .bind(number_list(ids.iter().copied()))
        .bind(state.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Counts the dead letters that match a filter.
pub(crate) async fn count(
    connection: &mut SqliteConnection,
    filter: &DeadFilter,
) -> sqlx::Result<u64> {
    let mut select = QueryBuilder::new(
        "select count(*) as total
         from dead_letters as d join events as e on e.number = d.event",
    );
    dead_filter::push(&mut select, filter, 0);
    let row = select.build().fetch_one(connection).await?;
    row.count("total")
}

/// Lists dead letters with an id above `after`, in the order of their ids.
pub(crate) async fn list(
    connection: &mut SqliteConnection,
    filter: &DeadFilter,
    after: i64,
    limit: u32,
) -> sqlx::Result<Vec<DeadRow>> {
    let mut select = QueryBuilder::new(ROWS);
    dead_filter::push(&mut select, filter, after);
    select.push(" order by d.id limit ").push_bind(limit);
    let rows = select.build().fetch_all(connection).await?;
    rows.iter().map(dead_row).collect()
}

/// Returns one dead letter by its id; `None` when no dead letter has this id.
pub(crate) async fn one(
    connection: &mut SqliteConnection,
    id: i64,
) -> sqlx::Result<Option<DeadRow>> {
    let filter = DeadFilter {
        ids: vec![id],
        ..DeadFilter::default()
    };
    // Ids are positive, and each id belongs to one row, so this list has at most one row.
    Ok(list(connection, &filter, 0, 1).await?.pop())
}

/// Returns, for each of the given dead letters, the present state of its event on its route.
pub(crate) async fn claims(
    connection: &mut SqliteConnection,
    ids: &[i64],
) -> sqlx::Result<Vec<DeadClaim>> {
    let rows = sqlx::query(
        "select d.id, d.died_at, c.state
         from dead_letters as d
         join claims as c on c.event = d.event and c.route = d.route
         where d.id in (select value from json_each(?1)) order by d.id",
    )
    .bind(number_list(ids.iter().copied()))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(DeadClaim {
                id: row.try_get("id")?,
                died_at: row.moment("died_at")?,
                state: row.claim_state("state")?,
            })
        })
        .collect()
}

fn dead_row(row: &SqliteRow) -> sqlx::Result<DeadRow> {
    Ok(DeadRow {
        id: row.try_get("id")?,
        route: row.parsed("route")?,
        event: row.event("event_id")?,
        topic: row.parsed("topic")?,
        state: row.dead_state("state")?,
        reason: row.dead_reason("reason")?,
        detail: row.text("detail")?,
        attempts: row.attempt("attempts")?,
        died_at: row.moment("died_at")?,
    })
}
