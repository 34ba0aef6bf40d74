//! Lists waiting retries, page by page, and makes them due.

use hookbox_driver::{EventCursor, RetryFilter, WaitingRetry};
use hookbox_event::{RouteName, SourceName};
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{Error, PgConnection, Postgres, Row};

use crate::column::{Columns, moment, text};
use crate::retries::is_leased;
use crate::retries::{deferral, deferred};

/// The SQL conditions of a [`RetryFilter`] over `retries r join events e`. They use the statement's
/// arguments `$1` to `$5`.
macro_rules! matching {
    () => {
        "($1::bytea[] is null or e.event_id = any ($1))
         and ($2::text is null or r.route = $2)
         and ($3::text is null or e.source = $3)
         and ($4::timestamptz is null or r.not_before >= $4)
         and ($5::timestamptz is null or r.not_before < $5)"
    };
}

/// Further SQL conditions, which select retries that are not due yet and not leased.
macro_rules! early {
    () => {
        concat!(
            " and r.not_before > now() and r.queued_at is null
              and not coalesce(",
            is_leased!(),
            ", false)"
        )
    };
}

/// Binds the filter to the statement's arguments `$1` to `$5`.
fn bind<'q>(
    query: Query<'q, Postgres, PgArguments>,
    filter: &'q RetryFilter,
) -> Query<'q, Postgres, PgArguments> {
    let events: Vec<&[u8]> = filter.events.iter().map(|it| &it.as_bytes()[..]).collect();
    query
        .bind((!events.is_empty()).then_some(events))
        .bind(filter.route.as_ref().map(RouteName::as_str))
        .bind(filter.source.as_ref().map(SourceName::as_str))
        .bind(filter.since.map(moment))
        .bind(filter.until.map(moment))
}

/// Lists waiting retries, those with the earliest due time first.
pub(crate) async fn list(
    c: &mut PgConnection,
    filter: &RetryFilter,
    after: Option<&EventCursor>,
    limit: u32,
) -> Result<Vec<WaitingRetry>, Error> {
    let query = sqlx::query(concat!(
        "select r.*, e.event_id, e.topic, last.error, ",
        deferral!(),
        " from retries r join events e on e.number = r.event
         left join lateral (
             select error from attempts a
             where a.event = r.event and a.route = r.route and a.error is not null
             order by attempt desc limit 1
         ) last on true
         where ",
        matching!(),
        " and ($6::timestamptz is null
               or r.not_before >= $6
                  and (r.not_before, e.event_id, r.route) > ($6, $7::bytea, $8::text))
         order by r.not_before, e.event_id, r.route
         limit $9"
    ));
    let rows = bind(query, filter)
        .bind(after.map(|after| moment(after.at)))
        .bind(after.map(|after| after.event.as_bytes()))
        .bind(after.map(|after| after.route.as_str()))
        .bind(i64::from(limit))
        .fetch_all(c)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(WaitingRetry {
                event: row.event("event_id")?,
                route: row.word("route", str::parse)?,
                topic: row.word("topic", str::parse)?,
                attempt: row.attempt("attempt")?,
                not_before: row.moment("not_before")?,
                queued_at: row.moment_or_none("queued_at")?,
                deferred: deferred(row)?,
                error: row.try_get("error")?,
            })
        })
        .collect()
}

/// Counts the retries that match a filter and are not due yet.
pub(crate) async fn early(c: &mut PgConnection, filter: &RetryFilter) -> Result<u64, Error> {
    let query = sqlx::query(concat!(
        "select count(*) as count from retries r join events e on e.number = r.event where ",
        matching!(),
        early!()
    ));
    bind(query, filter).fetch_one(c).await?.count("count")
}

/// Makes retries due now, those that are due first, and writes an audit row for each. Returns how
/// many retries it changed. Their rows are locked in the order of the events' numbers, as workers
/// lock them. In another order, an operator and a worker could wait for each other.
pub(crate) async fn hurry(
    c: &mut PgConnection,
    filter: &RetryFilter,
    limit: u32,
    by: &str,
) -> Result<u64, Error> {
    let query = sqlx::query(concat!(
        "with chosen as materialized (
             select r.event, r.route, e.event_id
             from retries r join events e on e.number = r.event where ",
        matching!(),
        early!(),
        "    order by r.not_before, e.event_id, r.route
             limit $6
         ), locked as materialized (
             select r.event, r.route, chosen.event_id
             from chosen join retries r on r.event = chosen.event and r.route = chosen.route
             where true",
        early!(),
        "    order by r.event, r.route
             for update of r
         ), hurried as (
             update retries set not_before = now()
             from locked
             where retries.event = locked.event and retries.route = locked.route
             returning locked.event_id, retries.route
         )
         insert into audit (actor, action, subject)
         select $7, 'retries.hurry', 'event ' || encode(event_id, 'hex') || ' on route ' || route
         from hurried order by route, event_id"
    ));
    let done = bind(query, filter)
        .bind(i64::from(limit))
        .bind(text(by))
        .execute(c)
        .await?;
    Ok(done.rows_affected())
}
