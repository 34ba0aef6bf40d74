//! The tables `events` and `bodies`: each event once for all routes, and its body as it was
//! received.

use std::collections::HashMap;

use hookbox_driver::{StoredEvent, UndecodableMessage};
use hookbox_event::{ContentDigest, Envelope, EventId, EventNumber, Timestamp, Topic};
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, moment, text};

/// The source under which undecodable bytes are stored. No configured source has this name.
const OURSELVES: &str = "hookbox";

/// The topic of undecodable bytes.
const UNDECODABLE: &str = "hookbox.undecodable";

/// Stores events that are not stored yet. All callers insert in the order of the ids, so that two
/// batches cannot deadlock. A number that another event has is an error: if it were passed over,
/// the event would not be stored.
pub(crate) async fn insert(c: &mut PgConnection, envelopes: &[&Envelope]) -> Result<(), Error> {
    let ids: Vec<&[u8; 16]> = envelopes.iter().map(|e| e.event.as_bytes()).collect();
    let sources: Vec<&str> = envelopes.iter().map(|e| e.source.as_str()).collect();
    let topics: Vec<&str> = envelopes.iter().map(|e| e.topic.as_str()).collect();
    let digests: Vec<&[u8; 32]> = envelopes.iter().map(|e| e.digest.as_bytes()).collect();
    let bodies: Vec<&[u8]> = envelopes.iter().map(|e| &*e.body).collect();
    let seals: Vec<_> = envelopes
        .iter()
        .map(|e| e.seal.as_deref().map(text))
        .collect();
    let received: Vec<_> = envelopes.iter().map(|e| moment(e.received_at)).collect();
    sqlx::query(
        "with came as materialized (
             select * from unnest($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::bytea[],
                                  $6::text[], $7::timestamptz[])
                 as came (event_id, source, topic, digest, body, seal, received_at)
         ), stored as (
             insert into events (event_id, source, topic, content_digest, received_at)
             select event_id, source, topic, digest, received_at from came
             order by event_id
             on conflict (event_id) do nothing
             returning number, event_id
         )
         insert into bodies (event, body, seal)
         select stored.number, came.body, came.seal from stored join came using (event_id)",
    )
    .bind(ids)
    .bind(sources)
    .bind(topics)
    .bind(digests)
    .bind(bodies)
    .bind(seals)
    .bind(received)
    .execute(c)
    .await?;
    Ok(())
}

/// Stores bytes that are not an envelope.
pub(crate) async fn insert_undecodable(
    c: &mut PgConnection,
    undecodable: &UndecodableMessage<'_>,
) -> Result<(), Error> {
    sqlx::query(
        "with stored as (
             insert into events (event_id, source, topic, content_digest, received_at)
             values ($1, $2, $3, $4, now())
             on conflict (event_id) do nothing
             returning number
         )
         insert into bodies (event, body) select number, $5 from stored",
    )
    .bind(undecodable.event.as_bytes())
    .bind(OURSELVES)
    .bind(UNDECODABLE)
    .bind(undecodable.digest.as_bytes())
    .bind(&undecodable.bytes[..])
    .execute(c)
    .await?;
    Ok(())
}

/// Returns whether any event is stored; `false` when the table does not exist.
pub(crate) async fn are_any(c: &mut PgConnection) -> Result<bool, Error> {
    let exists: bool = sqlx::query_scalar("select to_regclass('events') is not null")
        .fetch_one(&mut *c)
        .await?;
    if !exists {
        return Ok(false);
    }
    sqlx::query_scalar("select exists (select from events)")
        .fetch_one(c)
        .await
}

/// Returns stored event ids from `first` to `last`, both included. It returns at most two, which is
/// enough to know whether there is exactly one.
pub(crate) async fn between(
    c: &mut PgConnection,
    first: &EventId,
    last: &EventId,
) -> Result<Vec<EventId>, Error> {
    let rows = sqlx::query("select event_id from events where event_id between $1 and $2 limit 2")
        .bind(first.as_bytes())
        .bind(last.as_bytes())
        .fetch_all(c)
        .await?;
    rows.iter().map(|row| row.event("event_id")).collect()
}

/// Returns the stored events with these ids, and their bodies. Events that are not stored are
/// missing from the result.
pub(crate) async fn stored(
    c: &mut PgConnection,
    events: &[EventId],
) -> Result<HashMap<EventId, StoredEvent>, Error> {
    let ids: Vec<&[u8; 16]> = events.iter().map(EventId::as_bytes).collect();
    let rows = sqlx::query(
        "select e.event_id, e.topic, e.content_digest, b.body, b.seal
         from events e join bodies b on b.event = e.number
         where e.event_id = any ($1)",
    )
    .bind(ids)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            let body: Vec<u8> = row.try_get("body")?;
            let stored = StoredEvent {
                topic: row.word("topic", str::parse)?,
                digest: row.digest("content_digest")?,
                seal: row.try_get("seal")?,
                body: body.into(),
            };
            Ok((row.event("event_id")?, stored))
        })
        .collect()
}

/// One stored event, with its body.
pub(crate) struct KeptEvent {
    pub number: EventNumber,
    pub topic: Topic,
    pub digest: ContentDigest,
    pub body: Vec<u8>,
    pub seal: Option<String>,
    pub received_at: Timestamp,
}

/// Returns one event by its id; `None` when it is not stored.
pub(crate) async fn one(c: &mut PgConnection, event: &EventId) -> Result<Option<KeptEvent>, Error> {
    let row = sqlx::query(
        "select e.number, e.topic, e.content_digest, b.body, b.seal, e.received_at
         from events e join bodies b on b.event = e.number
         where e.event_id = $1",
    )
    .bind(event.as_bytes())
    .fetch_optional(c)
    .await?;
    row.map(|row| {
        Ok(KeptEvent {
            number: row.number("number")?,
            topic: row.word("topic", str::parse)?,
            digest: row.digest("content_digest")?,
            body: row.try_get("body")?,
            seal: row.try_get("seal")?,
            received_at: row.moment("received_at")?,
        })
    })
    .transpose()
}
