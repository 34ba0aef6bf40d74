//! The table `events`: each event once for all routes, with its body as it was received.

use std::collections::HashMap;

use bytes::Bytes;
use hookbox_driver::{ClaimState, EventDetail, EventState, StoredEvent, WaitingAttempt};
use hookbox_event::{ContentDigest, Envelope, EventId, RouteName, Topic};
use sqlx::sqlite::SqliteConnection;
use sqlx::{QueryBuilder, Row};

use crate::column::{Columns, hex_list};
use crate::moment;

/// The stored state of an event on one route.
pub(crate) struct StoredClaim {
    pub(crate) digest: ContentDigest,
    /// The event's state on the route, and the number of attempts made.
    pub(crate) claim: Option<(ClaimState, u32)>,
    /// The attempt for which the event waits; `None` when it waits for none.
    pub(crate) retry: Option<WaitingAttempt>,
}

impl StoredClaim {
    /// Returns the state by which a failure or a deferral of the event is recorded, for an envelope
    /// of the event.
    pub(crate) fn state(known: Option<&Self>, envelope: &Envelope) -> EventState {
        EventState {
            claim: known.and_then(|known| known.claim),
            is_same_body: known.is_none_or(|known| known.digest == envelope.digest),
            waits_for: known
                .and_then(|known| known.retry)
                .map(|retry| retry.attempt),
        }
    }
}

/// Returns what is stored of these events: the digest of the body, and the claim and the waiting
/// retry on one route. Events that are not stored are missing from the result.
pub(crate) async fn known(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: impl IntoIterator<Item = &EventId>,
) -> sqlx::Result<HashMap<EventId, StoredClaim>> {
    let rows = sqlx::query(
        "select e.event_id, e.content_digest, c.state, c.attempts,
                r.attempt as retry_attempt, r.attempts_before,
                coalesce(r.deferred_attempt = r.attempt, 0)
                    and r.queued_at is null and r.not_before > ?3 as is_put_off
         from json_each(?2) as wanted
         cross join events as e on e.event_id = unhex(wanted.value)
         left join claims as c on c.route = ?1 and c.event_id = e.event_id
         left join retries as r on r.route = ?1 and r.event_id = e.event_id",
    )
    .bind(route.as_str())
    .bind(hex_list(events.into_iter().map(|event| event.as_bytes())))
    .bind(moment::now())
    .fetch_all(connection)
    .await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in rows {
        let state: Option<&str> = row.try_get("state")?;
        let claim = match state {
            Some(_) => Some((row.claim_state("state")?, row.attempt("attempts")?)),
            None => None,
        };
        let retry: Option<i64> = row.try_get("retry_attempt")?;
        let retry = match retry {
            Some(_) => Some(WaitingAttempt {
                attempt: row.attempt("retry_attempt")?,
                attempts_before: row.attempt("attempts_before")?,
                is_put_off: row.try_get("is_put_off")?,
            }),
            None => None,
        };
        let digest = row.digest("content_digest")?;
        known.insert(
            row.event("event_id")?,
            StoredClaim {
                digest,
                claim,
                retry,
            },
        );
    }
    Ok(known)
}

/// Stores events. An event that is stored already keeps its first body.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    envelopes: &[&Envelope],
    now: i64,
) -> sqlx::Result<()> {
    for envelopes in envelopes.chunks(crate::ROWS_MAX) {
        let mut insert = QueryBuilder::<sqlx::Sqlite>::new(
            "insert into events
             (event_id, source, topic, content_digest, seal, received_at, created_at, body) ",
        );
        insert.push_values(envelopes, |mut row, envelope| {
            row.push_bind(&envelope.event.as_bytes()[..])
                .push_bind(envelope.source.as_str())
                .push_bind(envelope.topic.as_str())
                .push_bind(&envelope.digest.as_bytes()[..])
                .push_bind(envelope.seal.as_deref())
                .push_bind(envelope.received_at.unix_micros())
                .push_bind(now)
                .push_bind(&envelope.body[..]);
        });
        insert.push(" on conflict do nothing");
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// Stores bytes that are not an envelope.
pub(crate) async fn insert_undecodable(
    connection: &mut SqliteConnection,
    event: &EventId,
    bytes: &Bytes,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into events
         (event_id, source, topic, content_digest, seal, received_at, created_at, body)
         values (?1, 'hookbox', 'hookbox.undecodable', ?2, null, ?3, ?3, ?4)
         on conflict do nothing",
    )
    .bind(&event.as_bytes()[..])
    .bind(&ContentDigest::of_raw_body(bytes).as_bytes()[..])
    .bind(now)
    .bind(&bytes[..])
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the events whose id begins with these hex digits: at most two, enough to see that the
/// prefix is ambiguous.
pub(crate) async fn by_prefix(
    connection: &mut SqliteConnection,
    prefix: &str,
) -> sqlx::Result<Vec<EventId>> {
    let digits = EventId::from_bytes([0; 32]).to_string().len();
    let hex = !prefix.is_empty() && prefix.chars().all(|digit| digit.is_ascii_hexdigit());
    if !hex || prefix.len() > digits {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "select event_id from events
         where event_id between unhex(?1) and unhex(?2) order by event_id limit 2",
    )
    .bind(format!("{prefix:0<digits$}"))
    .bind(format!("{prefix:f<digits$}"))
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| row.event("event_id")).collect()
}

/// Returns the stored bodies of these events. Events that are not stored are missing from the
/// result.
pub(crate) async fn stored(
    connection: &mut SqliteConnection,
    events: &[EventId],
) -> sqlx::Result<HashMap<EventId, StoredEvent>> {
    let rows = sqlx::query(
        "select e.event_id, e.topic, e.content_digest, e.seal, e.body
         from json_each(?1) as wanted
         cross join events as e on e.event_id = unhex(wanted.value)",
    )
    .bind(hex_list(events.iter().map(|event| event.as_bytes())))
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let stored = StoredEvent {
                topic: row.parsed("topic")?,
                digest: row.digest("content_digest")?,
                seal: row.text_or_none("seal")?,
                body: row.bytes("body")?,
            };
            Ok((row.event("event_id")?, stored))
        })
        .collect()
}

/// Returns one event; `None` when it is not stored. Its lists of claims, receipts, attempts and
/// retries are empty, for the caller to fill.
pub(crate) async fn one(
    connection: &mut SqliteConnection,
    event: &EventId,
) -> sqlx::Result<Option<EventDetail>> {
    let row = sqlx::query(
        "select topic, content_digest, seal, received_at, body from events where event_id = ?1",
    )
    .bind(&event.as_bytes()[..])
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let body = row.bytes("body")?;
    Ok(Some(EventDetail {
        event: *event,
        topic: row.parsed::<Topic>("topic")?,
        digest: row.digest("content_digest")?,
        body_bytes: body.len() as u64,
        body,
        seal: row.text_or_none("seal")?,
        received_at: row.moment("received_at")?,
        claims: Vec::new(),
        receipts: Vec::new(),
        attempts: Vec::new(),
        retries: Vec::new(),
    }))
}
