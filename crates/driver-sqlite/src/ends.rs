//! The table `ends`: the ends of events on routes, in the order of the commits. Rows are only ever
//! added. One transaction at a time writes to the file, so a row that is committed later has a
//! higher position than every row that a reader has seen.

use hookbox_driver::{EndCursor, EndOutcome, EndRow, EndsPage, EndsRead, ReadEnd};
use hookbox_event::{EventNumber, Incarnation, RouteName, Timestamp};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Sqlite};

use crate::column::{Columns, number_list};

/// An end of an event on a route, to be written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEnd {
    pub(crate) event: EventNumber,
    pub(crate) outcome: EndOutcome,
    pub(crate) round: u32,
    pub(crate) attempts: u32,
}

/// Writes the ends of events on one route.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    route: &RouteName,
    ends: impl IntoIterator<Item = NewEnd>,
    now: i64,
) -> sqlx::Result<()> {
    let ends: Vec<NewEnd> = ends.into_iter().collect();
    for ends in ends.chunks(crate::ROWS_MAX) {
        let mut insert = QueryBuilder::<Sqlite>::new(
            "insert into ends (event, route, outcome, round, attempts, ended_at) ",
        );
        insert.push_values(ends, |mut row, end| {
            row.push_bind(end.event.as_i64())
                .push_bind(route.as_str())
                .push_bind(end.outcome.as_str())
                .push_bind(end.round)
                .push_bind(end.attempts)
                .push_bind(now);
        });
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// The statement of [`insert_changed`]. `CROSS JOIN` makes SQLite read the list of ids first, and
/// then look up each dead letter.
pub(crate) const INSERT_CHANGED: &str = "insert into ends
         (event, route, outcome, round, attempts, ended_at)
     select d.event, d.route, ?2,
            max(coalesce(d.round, 1),
                1 + coalesce((select max(e.attempts) from earlier_deaths as e
                              where e.dead_letter = d.id), 0)),
            d.attempts, ?3
     from json_each(?1) as chosen cross join dead_letters as d on d.id = chosen.value";

/// Writes the ends that follow when operators discard dead letters or revert a discard. The dead
/// letters are given by their ids.
///
/// A version before migration 20 does not write `round`: its rows have none, or that of an earlier
/// death. The round is then found from the earlier deaths, and it is the higher of the two.
pub(crate) async fn insert_changed(
    connection: &mut SqliteConnection,
    dead_letters: &[i64],
    outcome: EndOutcome,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(INSERT_CHANGED)
        .bind(number_list(dead_letters.iter().copied()))
        .bind(outcome.as_str())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// See [`hookbox_driver::Ledger::ends`]. The caller must have opened a transaction, so that all
/// queries see the same snapshot.
pub(crate) async fn read(
    connection: &mut SqliteConnection,
    after: Option<&EndCursor>,
    route: Option<&RouteName>,
    limit: u32,
) -> sqlx::Result<EndsRead> {
    let incarnation = incarnation(connection).await?;
    if let Some(after) = after {
        let found = time_at(connection, after).await?;
        if let Some(refusal) = after.refused_by(incarnation, found) {
            return Ok(EndsRead::Refused(refusal));
        }
    }
    let to_read = EndsPage::to_read(route, limit);
    let rows = select(after, route, to_read)
        .build()
        .fetch_all(connection)
        .await?;
    let is_chosen = |cursor: &EndCursor| route.is_none_or(|route| *route == cursor.route);
    let read: Vec<ReadEnd> = rows
        .iter()
        .map(|row| {
            let cursor = cursor(row, incarnation)?;
            if is_chosen(&cursor) {
                Ok(ReadEnd::Chosen(end(row, cursor)?))
            } else {
                Ok(ReadEnd::Other(cursor))
            }
        })
        .collect::<sqlx::Result<_>>()?;
    Ok(EndsRead::Page(EndsPage::of(read, to_read, limit)))
}

async fn incarnation(connection: &mut SqliteConnection) -> sqlx::Result<Incarnation> {
    let row = sqlx::query("select incarnation from incarnations order by id desc limit 1")
        .fetch_one(connection)
        .await?;
    row.id16("incarnation").map(Incarnation::from_bytes)
}

/// Returns the time of the stored end that has the position, the event and the route of a cursor;
/// `None` when there is no such end.
async fn time_at(
    connection: &mut SqliteConnection,
    cursor: &EndCursor,
) -> sqlx::Result<Option<Timestamp>> {
    let row =
        sqlx::query("select ended_at from ends where position = ?1 and event = ?2 and route = ?3")
            .bind(signed(cursor.position))
            .bind(cursor.event.as_i64())
            .bind(cursor.route.as_str())
            .fetch_optional(connection)
            .await?;
    row.map(|row| row.moment("ended_at")).transpose()
}

/// Builds the statement that reads at most `to_read` ends after a cursor. If a route is given, ends
/// on other routes are read and counted as well, but returned without their events.
pub(crate) fn select(
    after: Option<&EndCursor>,
    route: Option<&RouteName>,
    to_read: u32,
) -> QueryBuilder<Sqlite> {
    let mut select = QueryBuilder::new(
        "select read.*, e.event_id, e.topic
         from (select position, event as number, route, outcome, round, attempts, ended_at
               from ends where position > ",
    );
    select.push_bind(after.map_or(0, |after| signed(after.position)));
    select.push(" order by position limit ").push_bind(to_read);
    select.push(") as read left join events as e on e.number = read.number");
    if let Some(route) = route {
        select
            .push(" and read.route = ")
            .push_bind(route.to_string());
    }
    select.push(" order by read.position");
    select
}

/// SQLite's integers are signed and have 64 bits. Positions count up from 1, so a stored position
/// never exceeds the largest of these integers.
fn signed(position: u64) -> i64 {
    i64::try_from(position).unwrap_or(i64::MAX)
}

fn cursor(row: &SqliteRow, incarnation: Incarnation) -> sqlx::Result<EndCursor> {
    Ok(EndCursor {
        incarnation,
        position: row.count("position")?,
        event: row.event_number("number")?,
        route: row.parsed("route")?,
        at: row.moment("ended_at")?,
    })
}

fn end(row: &SqliteRow, cursor: EndCursor) -> sqlx::Result<EndRow> {
    Ok(EndRow {
        cursor,
        event: row.event("event_id")?,
        topic: row.parsed("topic")?,
        outcome: row.end_outcome("outcome")?,
        round: row.attempt("round")?,
        attempts: row.attempt("attempts")?,
    })
}
