//! The table `retries`: events that wait for another attempt.

use std::time::Duration;

use hookbox_driver::{DueRetry, RetryRow};
use hookbox_event::{Envelope, EventId, InstanceId, ReceiptId, Redo, RouteName};
use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, integer};

/// The longest that a retry can wait. PostgreSQL could add more to a moment, but not everything
/// that a `Duration` holds.
const DELAY_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// The attempts that events wait for: which, and how many had been made when its round began.
pub(crate) async fn waiting(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventId],
) -> Result<Vec<(EventId, u32, u32)>, Error> {
    let ids: Vec<&[u8; 32]> = events.iter().map(EventId::as_bytes).collect();
    let rows = sqlx::query(
        "select event_id, attempt, attempts_before from retries
         where route = $1 and event_id = any ($2)",
    )
    .bind(route.as_str())
    .bind(ids)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            let attempt = row.attempt("attempt")?;
            Ok((
                row.event("event_id")?,
                attempt,
                row.attempt("attempts_before")?,
            ))
        })
        .collect()
}

/// Makes an event wait for an attempt, so long from now by the server's clock.
pub(crate) async fn put(
    c: &mut PgConnection,
    route: &RouteName,
    event: &EventId,
    (attempt, attempts_before): (u32, u32),
    after: Duration,
) -> Result<(), Error> {
    sqlx::query(
        "insert into retries (route, event_id, attempt, attempts_before, not_before)
         values ($1, $2, $3, $4, now() + make_interval(secs => $5))
         on conflict (event_id, route) do update
         set attempt = excluded.attempt, attempts_before = excluded.attempts_before,
             not_before = excluded.not_before, queued_at = null",
    )
    .bind(route.as_str())
    .bind(event.as_bytes())
    .bind(integer(attempt))
    .bind(integer(attempts_before))
    .bind(after.min(DELAY_MAX).as_secs_f64())
    .execute(c)
    .await?;
    Ok(())
}

/// Makes replayed events due now, for one more attempt than was made, in a new round.
pub(crate) async fn put_replayed(
    c: &mut PgConnection,
    routes: &[String],
    events: &[Vec<u8>],
) -> Result<(), Error> {
    sqlx::query(
        "insert into retries (route, event_id, attempt, attempts_before, not_before)
         select claims.route, claims.event_id, claims.attempts + 1, claims.attempts, now()
         from unnest($1::text[], $2::bytea[]) as chosen (route, event_id)
         join claims using (route, event_id)
         on conflict (event_id, route) do update
         set attempt = excluded.attempt, attempts_before = excluded.attempts_before,
             not_before = excluded.not_before, queued_at = null",
    )
    .bind(routes)
    .bind(events)
    .execute(c)
    .await?;
    Ok(())
}

/// Ends the waiting of events that have come to an end.
pub(crate) async fn delete(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventId],
) -> Result<(), Error> {
    let ids: Vec<&[u8; 32]> = events.iter().map(EventId::as_bytes).collect();
    sqlx::query("delete from retries where route = $1 and event_id = any ($2)")
        .bind(route.as_str())
        .bind(ids)
        .execute(c)
        .await?;
    Ok(())
}

/// One retry that is due, and how long its body is.
pub(crate) struct Due {
    pub route: String,
    pub event: Vec<u8>,
    pub body_bytes: u64,
}

/// Locks retries that are due, those that wait longest first, and passes over those that
/// another scheduler has locked. A body's length is known without reading the body.
pub(crate) async fn lock_due(
    c: &mut PgConnection,
    limit: u32,
    routes: Option<&[RouteName]>,
) -> Result<Vec<Due>, Error> {
    let routes: Option<Vec<&str>> =
        routes.map(|routes| routes.iter().map(RouteName::as_str).collect());
    let rows = sqlx::query(
        "select r.route, r.event_id, octet_length(e.body)::bigint as body_bytes
         from retries r join events e using (event_id)
         where r.not_before <= now()
           and (r.queued_at is null or r.queued_at < now() - interval '1 hour')
           and ($2::text[] is null or r.route = any ($2))
           and exists (select from receipts
                       where receipts.event_id = r.event_id and receipts.route = r.route)
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
                event: row.try_get("event_id")?,
                body_bytes: row.count("body_bytes")?,
            })
        })
        .collect()
}

/// The envelopes of retries that are locked here, as their first receipts brought them.
pub(crate) async fn envelopes(c: &mut PgConnection, due: &[Due]) -> Result<Vec<DueRetry>, Error> {
    let routes: Vec<&str> = due.iter().map(|due| due.route.as_str()).collect();
    let events: Vec<&[u8]> = due.iter().map(|due| &*due.event).collect();
    let rows = sqlx::query(
        "select r.route, r.event_id, r.attempt, e.source, e.topic, e.content_digest, e.body,
                e.seal, first.*
         from unnest($1::text[], $2::bytea[]) as due (route, event_id)
         join retries r using (route, event_id)
         join events e using (event_id)
         cross join lateral (
             select receipt_id, key_id, instance, number, traceparent, received_at
             from receipts
             where receipts.event_id = r.event_id and receipts.route = r.route
             order by outcome = 'duplicate', received_at, receipt_id
             limit 1
         ) as first",
    )
    .bind(routes)
    .bind(events)
    .fetch_all(c)
    .await?;
    rows.iter().map(due_retry).collect()
}

/// Notes that retries were put into their queues, for the attempts that they were read for.
pub(crate) async fn mark_queued(
    c: &mut PgConnection,
    queued: &[(RouteName, EventId)],
) -> Result<(), Error> {
    let routes: Vec<&str> = queued.iter().map(|(route, _)| route.as_str()).collect();
    let events: Vec<&[u8; 32]> = queued.iter().map(|(_, event)| event.as_bytes()).collect();
    sqlx::query(
        "update retries set queued_at = clock_timestamp()
         from unnest($1::text[], $2::bytea[]) as queued (route, event_id)
         where retries.event_id = queued.event_id and retries.route = queued.route",
    )
    .bind(routes)
    .bind(events)
    .execute(c)
    .await?;
    Ok(())
}

/// What one event waits for.
pub(crate) async fn of_event(
    c: &mut PgConnection,
    event: &EventId,
) -> Result<Vec<RetryRow>, Error> {
    let rows = sqlx::query(
        "select route, attempt, not_before, queued_at
         from retries where event_id = $1 order by route",
    )
    .bind(event.as_bytes())
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(RetryRow {
                route: row.word("route", str::parse)?,
                attempt: row.attempt("attempt")?,
                not_before: row.at("not_before")?,
                queued_at: row.at_some("queued_at")?,
            })
        })
        .collect()
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
            digest: row.digest("content_digest")?,
            received_at: row.at("received_at")?,
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
