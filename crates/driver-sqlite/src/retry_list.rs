//! Lists waiting retries, page by page, and makes them due.

use hookbox_driver::{EventCursor, RetryFilter, WaitingRetry};
use hookbox_event::{EventId, RouteName, SourceName};
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Sqlite};

use crate::column::{Columns, hex_list, json_list};
use crate::conditions::{push_times, push_words};
use crate::retries::is_leased;
use crate::retries::{deferral, deferred};
use crate::{audit, moment};

/// The start of the statement that lists retries. `CROSS JOIN` forbids SQLite to read the events
/// first, so it reads the retries along the index of their due times and need not sort them.
const LIST: &str = concat!(
    "select w.*, e.event_id, e.topic, ",
    deferral!(),
    ", (select a.error from attempts as a
             where a.event = w.event and a.route = w.route and a.error is not null
             order by a.attempt desc limit 1) as error
     from retries as w cross join events as e on e.number = w.event"
);

const COUNT: &str = "select count(*) as retries
     from retries as w cross join events as e on e.number = w.event";

/// The statement that makes retries due: those whose events and routes are in the JSON list.
pub(crate) const HURRY: &str = "update retries set not_before = ?2
     where (event, route) in (select value ->> 0, value ->> 1 from json_each(?1))";

const IN_ORDER: &str = " order by w.not_before, e.event_id, w.route limit ";

/// Lists waiting retries, those with the earliest due time first.
pub(crate) async fn list(
    connection: &mut SqliteConnection,
    filter: &RetryFilter,
    after: Option<&EventCursor>,
    limit: u32,
) -> sqlx::Result<Vec<WaitingRetry>> {
    let mut select = select(filter, after, limit);
    let rows = select.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            Ok(WaitingRetry {
                event: row.event("event_id")?,
                route: row.parsed("route")?,
                topic: row.parsed("topic")?,
                attempt: row.attempt("attempt")?,
                not_before: row.moment("not_before")?,
                queued_at: row.moment_or_none("queued_at")?,
                deferred: deferred(row)?,
                error: row.text_or_none("error")?,
            })
        })
        .collect()
}

/// Builds the statement for one page of the list.
pub(crate) fn select(
    filter: &RetryFilter,
    after: Option<&EventCursor>,
    limit: u32,
) -> QueryBuilder<Sqlite> {
    let mut select = QueryBuilder::new(LIST);
    push(&mut select, filter);
    if let Some(after) = after {
        let at = after.at.unix_micros();
        select.push(" and w.not_before >= ").push_bind(at);
        select.push(" and (w.not_before, e.event_id, w.route) > (");
        select.push_bind(at).push(", ");
        select.push_bind(after.event.as_bytes().to_vec()).push(", ");
        select.push_bind(after.route.to_string()).push(")");
    }
    select.push(IN_ORDER).push_bind(limit);
    select
}

fn push(select: &mut QueryBuilder<Sqlite>, filter: &RetryFilter) {
    select.push(" where true");
    if !filter.events.is_empty() {
        let events = hex_list(filter.events.iter().map(EventId::as_bytes));
        select.push(
            " and w.event in (select number from events
                              where event_id in (select unhex(value) from json_each(",
        );
        select.push_bind(events).push(")))");
    }
    push_words(
        select,
        [
            (
                " and w.route = ",
                filter.route.as_ref().map(RouteName::as_str),
            ),
            (
                " and e.source = ",
                filter.source.as_ref().map(SourceName::as_str),
            ),
        ],
    );
    push_times(select, "w.not_before", filter.since, filter.until);
}

/// Appends the conditions for retries that are not due yet, by the time `now`, and not leased.
fn push_early(select: &mut QueryBuilder<Sqlite>, now: i64) {
    select.push(" and w.queued_at is null and w.not_before > ");
    select.push_bind(now);
    select.push(concat!(" and not coalesce(", is_leased!(), ", 0)"));
}

/// Counts the retries that match a filter and are not due yet.
pub(crate) async fn early(
    connection: &mut SqliteConnection,
    filter: &RetryFilter,
) -> sqlx::Result<u64> {
    let mut select = QueryBuilder::new(COUNT);
    push(&mut select, filter);
    push_early(&mut select, moment::now());
    let row = select.build().fetch_one(connection).await?;
    row.count("retries")
}

/// Makes at most `limit` retries due now that match a filter, and writes a row of the audit log for
/// each. Returns how many it changed.
pub(crate) async fn hurry(
    connection: &mut SqliteConnection,
    filter: &RetryFilter,
    limit: u32,
    by: &str,
) -> sqlx::Result<u64> {
    let now = moment::now();
    let mut select = QueryBuilder::new(LIST);
    push(&mut select, filter);
    push_early(&mut select, now);
    select.push(IN_ORDER).push_bind(limit);
    let rows = select.build().fetch_all(&mut *connection).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let mut chosen = Vec::with_capacity(rows.len());
    let mut subjects = Vec::with_capacity(rows.len());
    for row in &rows {
        // A route name has no characters that JSON would escape.
        let (event, route) = (row.event("event_id")?, row.parsed::<RouteName>("route")?);
        chosen.push(format!(
            "[{},\"{route}\"]",
            row.event_number("event")?.as_i64()
        ));
        subjects.push(format!("event {event} on route {route}"));
    }
    sqlx::query(HURRY)
        .bind(json_list(chosen))
        .bind(now)
        .execute(&mut *connection)
        .await?;
    audit::insert_all(connection, by, "retries.hurry", subjects).await?;
    Ok(rows.len() as u64)
}
