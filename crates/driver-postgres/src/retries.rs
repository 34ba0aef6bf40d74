//! The table `retries`: events that wait for another attempt.

use std::time::Duration;

use hookbox_driver::{
    DeferReason, Deferral, DeferralWrite, DeferredSince, DueRetry, RetryRow, TargetName,
    WaitingAttempt,
};
use hookbox_event::{Envelope, EventNumber, InstanceId, ReceiptId, Redo, RouteName};
use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, integer, numbers};

/// The SQL condition under which a row of `retries` belongs to a lease. The lease ends at the row's
/// `not_before`.
macro_rules! is_leased {
    () => {
        "(target is not null and leased_attempt = attempt)"
    };
}

pub(crate) use is_leased;

/// The longest wait of a retry, ten years. A `Duration` can hold more than PostgreSQL can add to a
/// timestamp, so a longer wait is shortened to this.
pub(crate) const DELAY_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The column that shows whether an event is deferred to a later time. If so, a message of the
/// event that is still in the queue must not start the attempt.
macro_rules! is_put_off {
    () => {
        "coalesce(deferred_attempt = attempt, false)
             and queued_at is null and not_before > now() as is_put_off"
    };
}

pub(crate) use is_put_off;

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

/// The next attempt for which an event waits.
pub(crate) struct StoredRetry {
    pub event: EventNumber,
    pub waiting: WaitingAttempt,
    /// Whether the event has a lease that has not ended.
    pub is_leased: bool,
}

/// Returns the attempt for which each of the given events waits. Events that do not wait are left
/// out.
pub(crate) async fn waiting(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventNumber],
) -> Result<Vec<StoredRetry>, Error> {
    let rows = sqlx::query(concat!(
        "select event, attempt, attempts_before, ",
        is_put_off!(),
        ", coalesce(",
        is_leased!(),
        ", false) and not_before > now() as is_leased
         from retries where route = $1 and event = any ($2)",
    ))
    .bind(route.as_str())
    .bind(numbers(events))
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(StoredRetry {
                event: row.number("event")?,
                waiting: WaitingAttempt {
                    attempt: row.attempt("attempt")?,
                    attempts_before: row.attempt("attempts_before")?,
                    is_put_off: row.try_get("is_put_off")?,
                },
                is_leased: row.try_get("is_leased")?,
            })
        })
        .collect()
}

/// Makes an event wait for an attempt, which is due when the time `after` has passed by the
/// server's clock. A waiting attempt that the event already has is replaced. If `is_deferral_kept`,
/// the reason and the start of its deferral are kept as those of the attempt before.
pub(crate) async fn put(
    c: &mut PgConnection,
    route: &RouteName,
    event: EventNumber,
    (attempt, attempts_before): (u32, u32),
    (after, is_deferral_kept): (Duration, bool),
) -> Result<(), Error> {
    sqlx::query(
        "insert into retries (route, event, attempt, attempts_before, not_before)
         values ($1, $2, $3, $4, now() + make_interval(secs => $5))
         on conflict (event, route) do update
         set attempt = excluded.attempt, attempts_before = excluded.attempts_before,
             not_before = excluded.not_before, queued_at = null,
             deferred_attempt = case when $6 then excluded.attempt - 1 end,
             deferred_reason = case when $6 then retries.deferred_reason end,
             deferred_since = case when $6 then retries.deferred_since end,
             target = null, leased_at = null, leased_attempt = null, leases = null",
    )
    .bind(route.as_str())
    .bind(event.as_i64())
    .bind(integer(attempt))
    .bind(integer(attempts_before))
    .bind(after.min(DELAY_MAX).as_secs_f64())
    .bind(is_deferral_kept)
    .execute(c)
    .await?;
    Ok(())
}

/// Returns why the event is deferred already, and for how long: for this attempt, or for the
/// attempt before if that one counts because its deferral had expired.
pub(crate) async fn put_off_for(
    c: &mut PgConnection,
    event: EventNumber,
    deferral: &Deferral<'_>,
) -> Result<Option<(DeferReason, Duration)>, Error> {
    let row = sqlx::query(
        "select deferred_reason as reason,
                extract(epoch from now() - deferred_since)::float8 as age
         from retries
         where route = $1 and event = $2 and attempt = $3
           and deferred_attempt in (attempt, attempt - 1)",
    )
    .bind(deferral.route.as_str())
    .bind(event.as_i64())
    .bind(integer(deferral.attempt))
    .fetch_optional(c)
    .await?;
    row.as_ref().map_or(Ok(None), reason_and_age)
}

/// Returns the reason and the age of a deferral, from the columns `reason` and `age`.
pub(crate) fn reason_and_age(row: &PgRow) -> Result<Option<(DeferReason, Duration)>, Error> {
    let reason: Option<&str> = row.try_get("reason")?;
    let age: Option<f64> = row.try_get("age")?;
    let age = age.map(|age| Duration::try_from_secs_f64(age).unwrap_or_default());
    Ok(reason.and_then(DeferReason::parse).zip(age))
}

/// Defers an event. The attempt was not made, so the event still waits for the same attempt, and
/// leases of this attempt stay counted.
pub(crate) async fn put_off(
    c: &mut PgConnection,
    event: EventNumber,
    deferral: &Deferral<'_>,
    written: DeferralWrite,
) -> Result<(), Error> {
    sqlx::query(
        "insert into retries (route, event, attempt, attempts_before, not_before,
                              deferred_attempt, deferred_reason, deferred_since)
         values ($1, $2, $3, $4, now() + make_interval(secs => $5), $3, $6, now())
         on conflict (event, route) do update
         set attempt = excluded.attempt, attempts_before = excluded.attempts_before,
             not_before = excluded.not_before, queued_at = null,
             deferred_attempt = excluded.attempt,
             deferred_reason = excluded.deferred_reason,
             deferred_since = case when $7 then retries.deferred_since
                                   else excluded.deferred_since end,
             target = null, leased_at = null",
    )
    .bind(deferral.route.as_str())
    .bind(event.as_i64())
    .bind(integer(deferral.attempt))
    .bind(integer(deferral.attempts_before))
    .bind(written.after.min(DELAY_MAX).as_secs_f64())
    .bind(written.reason.as_str())
    .bind(written.is_continued)
    .execute(c)
    .await?;
    Ok(())
}

/// Makes replayed events due now, in a new round. Each waits for one further attempt; the attempts
/// already made stay counted in `attempts_before`.
pub(crate) async fn put_replayed(
    c: &mut PgConnection,
    routes: &[String],
    events: &[EventNumber],
) -> Result<(), Error> {
    sqlx::query(
        "insert into retries (route, event, attempt, attempts_before, not_before)
         select claims.route, claims.event, claims.attempts + 1, claims.attempts, now()
         from unnest($1::text[], $2::bigint[]) as chosen (route, event)
         join claims using (route, event)
         on conflict (event, route) do update
         set attempt = excluded.attempt, attempts_before = excluded.attempts_before,
             not_before = excluded.not_before, queued_at = null,
             deferred_attempt = null, deferred_reason = null, deferred_since = null,
             target = null, leased_at = null, leased_attempt = null, leases = null",
    )
    .bind(routes)
    .bind(numbers(events))
    .execute(c)
    .await?;
    Ok(())
}

/// Deletes the waiting attempts of these events on this route.
pub(crate) async fn delete(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventNumber],
) -> Result<(), Error> {
    sqlx::query("delete from retries where route = $1 and event = any ($2)")
        .bind(route.as_str())
        .bind(numbers(events))
        .execute(c)
        .await?;
    Ok(())
}

/// A retry that is due, and the length of its body in bytes.
pub(crate) struct Due {
    pub route: String,
    pub event: EventNumber,
    pub body_bytes: u64,
}

/// Locks due retries, those that have waited longest first, and skips those that another scheduler
/// has locked. It determines the length of each body without reading the body.
pub(crate) async fn lock_due(
    c: &mut PgConnection,
    limit: u32,
    routes: Option<&[RouteName]>,
) -> Result<Vec<Due>, Error> {
    let routes: Option<Vec<&str>> =
        routes.map(|routes| routes.iter().map(RouteName::as_str).collect());
    let rows = sqlx::query(
        "select r.route, r.event, octet_length(b.body)::bigint as body_bytes
         from retries r join bodies b using (event)
         where r.not_before <= now()
           and (r.queued_at is null or r.queued_at < now() - interval '1 hour')
           and ($2::text[] is null or r.route = any ($2))
           and exists (select from receipts
                       where receipts.event = r.event and receipts.route = r.route)
         order by r.not_before
         limit $1
         for update of r skip locked",
    )
    .bind(i64::from(limit))
    .bind(routes)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Due {
                route: row.try_get("route")?,
                event: row.number("event")?,
                body_bytes: row.count("body_bytes")?,
            })
        })
        .collect()
}

/// Returns the envelopes of retries that this transaction has locked. The header fields of an
/// envelope are those of the event's first receipt. Each envelope comes with the number of its
/// event.
pub(crate) async fn envelopes(
    c: &mut PgConnection,
    due: &[Due],
) -> Result<Vec<(EventNumber, DueRetry)>, Error> {
    let routes: Vec<&str> = due.iter().map(|due| due.route.as_str()).collect();
    let events: Vec<i64> = due.iter().map(|due| due.event.as_i64()).collect();
    let rows = sqlx::query(
        "select r.route, r.event, r.attempt, e.event_id, e.source, e.topic, e.content_digest,
                b.body, b.seal, first.*
         from unnest($1::text[], $2::bigint[]) as due (route, event)
         join retries r using (route, event)
         join events e on e.number = r.event
         join bodies b on b.event = r.event
         cross join lateral (
             select receipt_id, key_id, instance, number, traceparent, received_at
             from receipts
             where receipts.event = r.event and receipts.route = r.route
             order by outcome = 'duplicate', received_at, receipt_id
             limit 1
         ) as first",
    )
    .bind(routes)
    .bind(events)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| Ok((row.number("event")?, due_retry(row)?)))
        .collect()
}

/// Marks retries as queued, so that they are not published again at once.
pub(crate) async fn mark_queued(
    c: &mut PgConnection,
    queued: &[(RouteName, EventNumber)],
) -> Result<(), Error> {
    let routes: Vec<&str> = queued.iter().map(|(route, _)| route.as_str()).collect();
    let events: Vec<i64> = queued.iter().map(|(_, event)| event.as_i64()).collect();
    sqlx::query(
        "update retries set queued_at = clock_timestamp()
         from unnest($1::text[], $2::bigint[]) as queued (route, event)
         where retries.event = queued.event and retries.route = queued.route",
    )
    .bind(routes)
    .bind(events)
    .execute(c)
    .await?;
    Ok(())
}

/// Returns the waiting attempts of one event on all routes.
pub(crate) async fn of_event(
    c: &mut PgConnection,
    event: EventNumber,
) -> Result<Vec<RetryRow>, Error> {
    let rows = sqlx::query(concat!(
        "select route, attempt, not_before, queued_at, case when ",
        is_leased!(),
        " then target end as target, ",
        deferral!(),
        " from retries where event = $1 order by route",
    ))
    .bind(event.as_i64())
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(RetryRow {
                route: row.word("route", str::parse)?,
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
pub(crate) fn deferred(row: &PgRow) -> Result<Option<DeferredSince>, Error> {
    let reason: Option<&str> = row.try_get("reason")?;
    match (reason, row.moment_or_none("since")?) {
        (Some(_), Some(since)) => {
            let reason = row.known("reason", DeferReason::parse)?;
            Ok(Some(DeferredSince { reason, since }))
        }
        (None, _) | (_, None) => Ok(None),
    }
}

fn target(row: &PgRow) -> Result<Option<TargetName>, Error> {
    let target: Option<&str> = row.try_get("target")?;
    target.map(|_| row.word("target", str::parse)).transpose()
}

fn due_retry(row: &PgRow) -> Result<DueRetry, Error> {
    let body: Vec<u8> = row.try_get("body")?;
    Ok(DueRetry {
        route: row.word("route", str::parse)?,
        envelope: Envelope {
            receipt: row.id16("receipt_id", ReceiptId::from_bytes)?,
            source: row.word("source", str::parse)?,
            topic: row.word("topic", str::parse)?,
            event: row.event("event_id")?,
            id_tail: None,
            digest: row.digest("content_digest")?,
            received_at: row.moment("received_at")?,
            key_id: row.try_get("key_id")?,
            instance: row.id16("instance", InstanceId::from_bytes)?,
            number: row.count("number")?,
            seal: row.try_get("seal")?,
            traceparent: row.try_get("traceparent")?,
            redo: Some(Redo {
                attempt: row.attempt("attempt")?,
            }),
            body: body.into(),
        },
    })
}
