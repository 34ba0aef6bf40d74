//! The table `retries`: events that wait for another attempt.

use std::time::Duration;

use futures_util::TryStreamExt;
use hookbox_driver::{
    DeferReason, Deferral, DeferralWrite, DeferredSince, DueRetry, RetryRow, TargetName,
};
use hookbox_event::{Envelope, EventNumber, Redo, RouteName};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::column::{Columns, json_list, number_list, numbers};
use crate::moment;

/// The SQL condition under which a row of `retries` belongs to a lease. The lease ends at the row's
/// `not_before`.
macro_rules! is_leased {
    () => {
        "(target is not null and leased_attempt = attempt)"
    };
}

pub(crate) use is_leased;

/// The columns from which [`deferred`] reads why and since when a retry is deferred.
macro_rules! deferral {
    () => {
        concat!(
            "case when ",
            $crate::retries::is_leased!(),
            " then 'leased' when deferred_attempt = attempt then deferred_reason end as reason,
             case when ",
            $crate::retries::is_leased!(),
            " then leased_at else deferred_since end as since"
        )
    };
}

pub(crate) use deferral;

/// A retry to be written: the event waits for this attempt.
pub(crate) struct NewRetry<'a> {
    pub(crate) route: &'a RouteName,
    pub(crate) event: EventNumber,
    pub(crate) attempt: u32,
    pub(crate) attempts_before: u32,
    pub(crate) not_before: i64,
    pub(crate) is_deferral_kept: bool,
}

/// Makes an event wait for an attempt. A waiting attempt that the event already has is replaced. If
/// `is_deferral_kept`, the reason and the start of its deferral are kept as those of the attempt
/// before.
pub(crate) async fn put(
    connection: &mut SqliteConnection,
    waiting: &NewRetry<'_>,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into retries (route, event, attempt, attempts_before, not_before, queued_at)
         values (?1, ?2, ?3, ?4, ?5, null)
         on conflict (event, route) do update
         set attempt = excluded.attempt, attempts_before = excluded.attempts_before,
             not_before = excluded.not_before, queued_at = null,
             deferred_attempt = case when ?6 then excluded.attempt - 1 end,
             deferred_reason = case when ?6 then retries.deferred_reason end,
             deferred_since = case when ?6 then retries.deferred_since end,
             target = null, leased_at = null, leased_attempt = null, leases = null",
    )
    .bind(waiting.route.as_str())
    .bind(waiting.event.as_i64())
    .bind(waiting.attempt)
    .bind(waiting.attempts_before)
    .bind(waiting.not_before)
    .bind(waiting.is_deferral_kept)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns why the event is deferred already, and for how long: for this attempt, or for the
/// attempt before if that one counts because its deferral had expired.
pub(crate) async fn put_off_for(
    connection: &mut SqliteConnection,
    event: EventNumber,
    deferral: &Deferral<'_>,
) -> sqlx::Result<Option<(DeferReason, Duration)>> {
    let row = sqlx::query(
        "select deferred_reason as reason, deferred_since from retries
         where route = ?1 and event = ?2 and attempt = ?3
           and deferred_attempt in (attempt, attempt - 1)",
    )
    .bind(deferral.route.as_str())
    .bind(event.as_i64())
    .bind(deferral.attempt)
    .fetch_optional(connection)
    .await?;
    row.map_or(Ok(None), |row| reason_and_age(&row, moment::now()))
}

/// Returns the reason and the age of a deferral, from the columns `reason` and `deferred_since`.
pub(crate) fn reason_and_age(
    row: &SqliteRow,
    now: i64,
) -> sqlx::Result<Option<(DeferReason, Duration)>> {
    let reason: Option<&str> = row.try_get("reason")?;
    let since: Option<i64> = row.try_get("deferred_since")?;
    let age = |since: i64| u64::try_from(now.saturating_sub(since)).unwrap_or(0);
    let age = since.map(|since| Duration::from_micros(age(since)));
    Ok(reason.and_then(DeferReason::parse).zip(age))
}

/// Defers an event. The attempt was not made, so the event still waits for the same attempt, and
/// leases of this attempt stay counted.
pub(crate) async fn put_off(
    connection: &mut SqliteConnection,
    event: EventNumber,
    deferral: &Deferral<'_>,
    written: DeferralWrite,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into retries (route, event, attempt, attempts_before, not_before, queued_at,
                              deferred_attempt, deferred_reason, deferred_since)
         values (?1, ?2, ?3, ?4, ?5, null, ?3, ?6, ?7)
         on conflict (event, route) do update
         set attempt = excluded.attempt, attempts_before = excluded.attempts_before,
             not_before = excluded.not_before, queued_at = null,
             deferred_attempt = excluded.attempt, deferred_reason = excluded.deferred_reason,
             deferred_since = case when ?8 then retries.deferred_since
                                   else excluded.deferred_since end,
             target = null, leased_at = null",
    )
    .bind(deferral.route.as_str())
    .bind(event.as_i64())
    .bind(deferral.attempt)
    .bind(deferral.attempts_before)
    .bind(moment::in_(written.after))
    .bind(written.reason.as_str())
    .bind(now)
    .bind(written.is_continued)
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes the events of replayed dead letters due now, in a new round. Each waits for one further
/// attempt; the attempts already made stay counted in `attempts_before`.
pub(crate) async fn put_replayed(
    connection: &mut SqliteConnection,
    dead_letters: &[i64],
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into retries (route, event, attempt, attempts_before, not_before)
         select c.route, c.event, c.attempts + 1, c.attempts, ?2
         from json_each(?1) as chosen
         cross join dead_letters as d on d.id = chosen.value
         cross join claims as c on c.event = d.event and c.route = d.route
         where true
         on conflict (event, route) do update
         set attempt = excluded.attempt, attempts_before = excluded.attempts_before,
             not_before = excluded.not_before, queued_at = null,
             deferred_attempt = null, deferred_reason = null, deferred_since = null,
             target = null, leased_at = null, leased_attempt = null, leases = null",
    )
    .bind(number_list(dead_letters.iter().copied()))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Makes replayed events of one route due at once, as [`put_replayed`] does for dead letters.
pub(crate) async fn put_events(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventNumber],
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into retries (route, event, attempt, attempts_before, not_before)
         select c.route, c.event, c.attempts + 1, c.attempts, ?3
         from json_each(?2) as chosen
         cross join claims as c on c.event = chosen.value and c.route = ?1
         where true
         on conflict (event, route) do update
         set attempt = excluded.attempt, attempts_before = excluded.attempts_before,
             not_before = excluded.not_before, queued_at = null,
             deferred_attempt = null, deferred_reason = null, deferred_since = null,
             target = null, leased_at = null, leased_attempt = null, leases = null",
    )
    .bind(route.as_str())
    .bind(numbers(events))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes the waiting attempts of these events on this route.
pub(crate) async fn delete(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventNumber],
) -> sqlx::Result<()> {
    sqlx::query(
        "delete from retries where route = ?1 and event in (select value from json_each(?2))",
    )
    .bind(route.as_str())
    .bind(numbers(events))
    .execute(connection)
    .await?;
    Ok(())
}

/// A retry that is due.
pub(crate) struct Due {
    pub(crate) retry: DueRetry,
    event: EventNumber,
    /// The due time. The attempt number alone does not identify a retry, because a replay may use
    /// the number of an attempt that was scheduled earlier and never made. So [`mark_queued`]
    /// compares the number and the due time.
    not_before: i64,
}

/// Returns the retries that are due and have no message in the queue: those that were not queued
/// yet, and those that were queued before `heard_since`, which is so long ago that their messages
/// may be lost. At most `limit` are returned, and fewer if the bodies of more retries would exceed
/// `bytes_max` bytes in total. If any retry is due, at least one is returned, however long its body
/// is.
pub(crate) async fn due(
    connection: &mut SqliteConnection,
    heard_since: i64,
    (limit, bytes_max): (u32, usize),
    routes: Option<&[RouteName]>,
) -> sqlx::Result<Vec<Due>> {
    // The names are put into a JSON list as they are, because a route name has no characters that
    // JSON would escape.
    let routes = routes.map(|routes| json_list(routes.iter().map(|route| format!("\"{route}\""))));
    // The receipt id, key id, instance and sequence number of the envelope are those of the first
    // receipt, which represents the event on this route.
    let mut rows = sqlx::query(
        "select w.event, w.route, w.attempt, w.not_before,
                e.event_id, e.source, e.topic, e.content_digest, b.seal, b.body,
                r.receipt_id, r.key_id, r.instance, r.number, r.traceparent,
                r.received_at
         from retries as w
         join claims as c on c.route = w.route and c.event = w.event
         join events as e on e.number = w.event
         join bodies as b on b.event = w.event
         join receipts as r on r.route = w.route and r.receipt_id = (
             select f.receipt_id from receipts as f
             where f.route = w.route and f.event = w.event
             order by f.outcome = 'duplicate', f.received_at, f.receipt_id limit 1)
         where w.not_before <= ?1 and c.state = 'retrying'
           and (w.queued_at is null or w.queued_at <= ?2)
           and (?4 is null or w.route in (select value from json_each(?4)))
         order by w.not_before limit ?3",
    )
    .bind(moment::now())
    .bind(heard_since)
    .bind(limit)
    .bind(routes)
    .fetch(connection);
    let (mut due, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        let one = due_retry(&row)?;
        bytes += one.retry.envelope.body.len();
        if bytes > bytes_max && !due.is_empty() {
            break;
        }
        due.push(one);
    }
    Ok(due)
}

fn due_retry(row: &SqliteRow) -> sqlx::Result<Due> {
    let retry = DueRetry {
        route: row.parsed("route")?,
        envelope: Envelope {
            receipt: row.receipt("receipt_id")?,
            source: row.parsed("source")?,
            topic: row.parsed("topic")?,
            event: row.event("event_id")?,
            id_tail: None,
            digest: row.digest("content_digest")?,
            received_at: row.moment("received_at")?,
            key_id: row.text("key_id")?,
            instance: row.instance("instance")?,
            number: row.count("number")?,
            seal: row.text_or_none("seal")?,
            traceparent: row.text_or_none("traceparent")?,
            redo: Some(Redo {
                attempt: row.attempt("attempt")?,
            }),
            body: row.bytes("body")?,
        },
    };
    Ok(Due {
        retry,
        event: row.event_number("event")?,
        not_before: row.try_get("not_before")?,
    })
}

/// The statement of [`mark_queued`]. It joins the table with the list, so that SQLite looks up each
/// retry by its primary key. With `IN`, SQLite would search by `not_before`. All retries of one
/// replay have the same `not_before`, so each search would read all of them.
pub(crate) const MARK_QUEUED: &str = "with queued as (
         select value ->> 0 as event, value ->> 1 as route, value ->> 2 as attempt,
                value ->> 3 as not_before
         from json_each(?1))
     update retries set queued_at = ?2 from queued
     where retries.event = queued.event and retries.route = queued.route
       and retries.attempt = queued.attempt and retries.not_before = queued.not_before";

/// Marks retries as queued, if their events still wait for the same attempt. While a retry was
/// being published, its event may have been processed, or replayed by an operator.
pub(crate) async fn mark_queued(
    connection: &mut SqliteConnection,
    queued: &[Due],
    now: i64,
) -> sqlx::Result<()> {
    let queued = queued.iter().map(|due| {
        let (event, route) = (due.event.as_i64(), &due.retry.route);
        let attempt = due.retry.envelope.redo.map_or(0, |redo| redo.attempt);
        // A route name has no characters that JSON would escape.
        format!("[{event},\"{route}\",{attempt},{}]", due.not_before)
    });
    sqlx::query(MARK_QUEUED)
        .bind(json_list(queued))
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Returns the waiting attempts of one event on all routes.
pub(crate) async fn of_event(
    connection: &mut SqliteConnection,
    event: EventNumber,
) -> sqlx::Result<Vec<RetryRow>> {
    let rows = sqlx::query(concat!(
        "select w.route, w.attempt, w.not_before, w.queued_at, case when ",
        is_leased!(),
        " then w.target end as target, ",
        deferral!(),
        " from claims as c
         cross join retries as w on w.route = c.route and w.event = c.event
         where c.event = ?1 order by w.route",
    ))
    .bind(event.as_i64())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(RetryRow {
                route: row.parsed("route")?,
                attempt: row.attempt("attempt")?,
                not_before: row.moment("not_before")?,
                queued_at: row.moment_or_none("queued_at")?,
                deferred: deferred(row)?,
                target: target(row)?,
            })
        })
        .collect()
}

/// Returns why and since when a retry is deferred, from the columns of `deferral!`.
pub(crate) fn deferred(row: &SqliteRow) -> sqlx::Result<Option<DeferredSince>> {
    let reason: Option<&str> = row.try_get("reason")?;
    match (reason, row.moment_or_none("since")?) {
        (Some(_), Some(since)) => {
            let reason = row.defer_reason("reason")?;
            Ok(Some(DeferredSince { reason, since }))
        }
        (None, _) | (_, None) => Ok(None),
    }
}

fn target(row: &SqliteRow) -> sqlx::Result<Option<TargetName>> {
    let target: Option<&str> = row.try_get("target")?;
    target.map(|_| row.parsed("target")).transpose()
}
