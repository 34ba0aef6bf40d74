//! The table `ends`: the ends of events on routes, in an order that lets a reader continue where it
//! stopped. Rows are only ever added, except by [`renumber`].
//!
//! Each row has the number of the transaction that wrote it. A reader gets only rows with numbers
//! below that of the oldest running transaction. The transactions with these numbers have all
//! ended, and the reader sees what they committed. A transaction that has not written anything yet
//! will get a higher number. So no row can appear later among those that were read, in whatever
//! order the transactions commit.

use std::time::Duration;

use hookbox_driver::{
    CursorRefusal, EndCursor, EndOutcome, EndRow, EndsPage, EndsRead, HeldBack, Holder, ReadEnd,
};
use hookbox_event::{EventNumber, Incarnation, RouteName, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{Error, Executor, PgConnection, Row};

use crate::column::{Columns, integer};

/// An end to be written, of an event that is done or stale.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DoneEnd {
    pub event: EventNumber,
    pub round: u32,
    pub attempts: u32,
}

/// Ends as columns: the arguments of a statement that writes ends together with claims or receipts.
pub(crate) struct EndColumns {
    pub events: Vec<i64>,
    pub rounds: Vec<i32>,
    pub attempts: Vec<i32>,
}

impl EndColumns {
    pub(crate) fn of(done: &[DoneEnd]) -> Self {
        Self {
            events: done.iter().map(|end| end.event.as_i64()).collect(),
            rounds: done.iter().map(|end| integer(end.round)).collect(),
            attempts: done.iter().map(|end| integer(end.attempts)).collect(),
        }
    }
}

/// Writes the ends of events that are stale. The caller has checked that the transaction is open.
pub(crate) async fn insert_stale(
    c: &mut PgConnection,
    route: &RouteName,
    stale: &[DoneEnd],
) -> Result<(), Error> {
    let EndColumns {
        events,
        rounds,
        attempts,
    } = EndColumns::of(stale);
    sqlx::query(
        "insert into ends (ended_xid, event, round, attempts, route, outcome)
         select pg_current_xact_id(), came.event, came.round, came.attempts, $1, $5
         from unnest($2::bigint[], $3::int[], $4::int[]) as came (event, round, attempts)
         order by came.event",
    )
    .bind(route.as_str())
    .bind(events)
    .bind(rounds)
    .bind(attempts)
    .bind(EndOutcome::Stale.as_str())
    .execute(c)
    .await?;
    Ok(())
}

/// Writes the ends that follow when operators discard dead letters or revert a discard. The dead
/// letters are given by their ids.
///
/// A version before migration 20 does not write `round`: its rows have none, or that of an earlier
/// death. The round is then found from the earlier deaths, and it is the higher of the two.
pub(crate) async fn insert_changed(
    c: &mut PgConnection,
    dead_letters: &[i64],
    outcome: EndOutcome,
) -> Result<(), Error> {
    sqlx::query(
        "insert into ends (ended_xid, event, round, attempts, route, outcome)
         select pg_current_xact_id(), d.event,
                greatest(d.round, 1 + (select max(e.attempts) from earlier_deaths e
                                       where e.dead_letter = d.id), 1),
                d.attempts, d.route, $2
         from dead_letters d
         where d.id = any ($1)
         order by d.event, d.route",
    )
    .bind(dead_letters)
    .bind(outcome.as_str())
    .execute(c)
    .await?;
    Ok(())
}

/// See [`hookbox_driver::Ledger::ends`]. The transaction must be one of [`crate::Postgres::read`],
/// so that all queries see the same snapshot.
pub(crate) async fn read(
    c: &mut PgConnection,
    after: Option<&EndCursor>,
    route: Option<&RouteName>,
    limit: u32,
) -> Result<EndsRead, Error> {
    let incarnation = incarnation(c).await?;
    if let Some(after) = after {
        // A reader may still run when the database moves to another server. The cursor's end may
        // be there, too, but ends that are written there would be before it.
        if are_of_another_server(c).await? {
            return Ok(EndsRead::Refused(CursorRefusal::Moved));
        }
        let found = time_at(c, after).await?;
        if let Some(refusal) = after.refused_by(incarnation, found) {
            return Ok(EndsRead::Refused(refusal));
        }
    }
    let to_read = EndsPage::to_read(route, limit);
    let read = list(c, incarnation, after, route, to_read).await?;
    Ok(EndsRead::Page(EndsPage::of(read, to_read, limit)))
}

async fn incarnation(c: &mut PgConnection) -> Result<Incarnation, Error> {
    let row = sqlx::query("select incarnation from incarnations order by id desc limit 1")
        .fetch_one(c)
        .await?;
    row.id16("incarnation", Incarnation::from_bytes)
}

/// Returns the time of the stored end that has the position, the event and the route of a cursor;
/// `None` when there is no such end.
async fn time_at(c: &mut PgConnection, cursor: &EndCursor) -> Result<Option<Timestamp>, Error> {
    let row = sqlx::query(
        "select ended_at from ends
         where ended_xid = $1::text::xid8 and event = $2 and route = $3",
    )
    .bind(cursor.position.to_string())
    .bind(cursor.event.as_i64())
    .bind(cursor.route.as_str())
    .fetch_optional(c)
    .await?;
    row.map(|row| row.moment("ended_at")).transpose()
}

/// Reads at most `to_read` ends after a cursor, along the primary key. If a route is given, ends on
/// other routes are read and counted as well, but returned without their events. Without a cursor,
/// the list begins after a position that is lower than all others, so one statement serves both
/// cases.
async fn list(
    c: &mut PgConnection,
    incarnation: Incarnation,
    after: Option<&EndCursor>,
    route: Option<&RouteName>,
    to_read: u32,
) -> Result<Vec<ReadEnd>, Error> {
    let rows = sqlx::query(
        "select read.ended_xid::text as position, read.event as number, read.route, read.ended_at,
                read.outcome, read.round, read.attempts, events.event_id, events.topic
         from (select * from ends
               where ended_xid < pg_snapshot_xmin(pg_current_snapshot())
                 and (ended_xid, event, route) > ($1::text::xid8, $2::bigint, $3::text)
               order by ended_xid, event, route
               limit $4) as read
         left join events on events.number = read.event
                         and ($5::text is null or read.route = $5)
         order by read.ended_xid, read.event, read.route",
    )
    .bind(after.map_or(0, |after| after.position).to_string())
    .bind(after.map_or(0, |after| after.event.as_i64()))
    .bind(after.map_or("", |after| after.route.as_str()))
    .bind(i64::from(to_read))
    .bind(route.map(RouteName::as_str))
    .fetch_all(c)
    .await?;
    let is_chosen = |cursor: &EndCursor| route.is_none_or(|route| *route == cursor.route);
    rows.iter()
        .map(|row| {
            let cursor = cursor(row, incarnation)?;
            if is_chosen(&cursor) {
                Ok(ReadEnd::Chosen(end(row, cursor)?))
            } else {
                Ok(ReadEnd::Other(cursor))
            }
        })
        .collect()
}

fn cursor(row: &PgRow, incarnation: Incarnation) -> Result<EndCursor, Error> {
    Ok(EndCursor {
        incarnation,
        position: row.word("position", str::parse::<u64>)?,
        event: row.number("number")?,
        route: row.word("route", str::parse)?,
        at: row.moment("ended_at")?,
    })
}

fn end(row: &PgRow, cursor: EndCursor) -> Result<EndRow, Error> {
    Ok(EndRow {
        cursor,
        event: row.event("event_id")?,
        topic: row.word("topic", str::parse)?,
        outcome: row.known("outcome", EndOutcome::parse)?,
        round: row.attempt("round")?,
        attempts: row.attempt("attempts")?,
    })
}

/// See [`hookbox_driver::Ledger::ends_held_back`]. The transaction must be one of
/// [`crate::Postgres::read`], so that both queries see the same snapshot.
pub(crate) async fn held_back(c: &mut PgConnection) -> Result<Option<HeldBack>, Error> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "select extract(epoch from clock_timestamp() - ended_at)::float8 from ends
         where ended_xid >= pg_snapshot_xmin(pg_current_snapshot())
         order by ended_xid, event, route limit 1",
    )
    .fetch_optional(&mut *c)
    .await?;
    let Some(seconds) = seconds else {
        return Ok(None);
    };
    Ok(Some(HeldBack {
        age: Duration::try_from_secs_f64(seconds).unwrap_or_default(),
        by: holder(c).await?,
    }))
}

/// Returns the process or the prepared transaction to which the oldest running transaction belongs.
/// Every role may read these columns, and none of them contains the text of a query. The
/// transaction may be one of another database, because all databases of a server share the numbers.
async fn holder(c: &mut PgConnection) -> Result<Option<Holder>, Error> {
    let row = sqlx::query(
        "with oldest as (select pg_snapshot_xmin(pg_current_snapshot())::xid as xid)
         select pid as process, coalesce(datname::text, '') as database,
                coalesce(application_name, '') as name
         from pg_stat_activity join oldest on backend_xid = xid
         union all
         select null, database::text, gid from pg_prepared_xacts join oldest on transaction = xid
         limit 1",
    )
    .fetch_optional(c)
    .await?;
    row.map(|row| {
        Ok(Holder {
            process: row.try_get("process")?,
            database: row.try_get("database")?,
            name: row.try_get("name")?,
        })
    })
    .transpose()
}

/// Returns whether the table has a row with a number that this server has not given to a
/// transaction yet. Such a row comes from another server, by a dump or by logical replication, and
/// new rows would get lower numbers than rows that readers have already read.
pub(crate) async fn are_of_another_server(c: &mut PgConnection) -> Result<bool, Error> {
    // Not a prepared statement, so that it is one round trip on a new connection.
    let query = sqlx::raw_sql(
        "select ended_xid >= pg_snapshot_xmax(pg_current_snapshot()) from ends
         order by ended_xid desc, event desc, route desc limit 1",
    );
    let newest = c.fetch_optional(query).await?;
    newest.map_or(Ok(false), |row| row.try_get(0))
}

/// If some rows come from another server, gives all rows new numbers, which are lower than those of
/// all transactions of this server. The ends of one event on one route are counted from 0, or from
/// 1 if any row has the number 0 now. Returns how many rows it changed.
///
/// So no row keeps its number, and every older cursor is refused. If a row kept its number, a
/// reader could continue after it. That reader would miss the rows that were after this row and are
/// before it now.
///
/// The rows are deleted and inserted again, because an update would give a row a number that
/// another row still has. The numbering reads all deleted rows before the first row is inserted.
pub(crate) async fn renumber(c: &mut PgConnection) -> Result<u64, Error> {
    if !are_of_another_server(c).await? {
        return Ok(0);
    }
    let done = sqlx::query(
        "with gone as (
             delete from ends
             returning ended_xid, event, ended_at, round, attempts, route, outcome
         ), first as (
             select case when bool_or(ended_xid = '0') then 1 else 0 end as place from gone
         ), numbered as (
             select gone.*,
                    first.place - 1 + row_number() over (
                        partition by gone.event, gone.route order by gone.ended_xid) as place
             from gone cross join first
         )
         insert into ends (ended_xid, event, ended_at, round, attempts, route, outcome)
         select place::text::xid8, event, ended_at, round, attempts, route, outcome
         from numbered
         order by place, event, route",
    )
    .execute(c)
    .await?;
    Ok(done.rows_affected())
}
