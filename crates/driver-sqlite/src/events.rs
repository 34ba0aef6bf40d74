//! The tables `events` and `bodies`: each event once for all routes, and its body as it was
//! received.

use std::collections::HashMap;

use hookbox_driver::{EventDetail, StoredEvent, UndecodableMessage};
use hookbox_event::{Envelope, EventId, EventNumber, Topic};
use sqlx::QueryBuilder;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::column::{Columns, hex_list};

/// Stores events, and returns their numbers. An event that is stored already keeps its first body.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    envelopes: &[&Envelope],
    now: i64,
) -> sqlx::Result<HashMap<EventId, EventNumber>> {
    let mut numbers = HashMap::with_capacity(envelopes.len());
    for envelopes in envelopes.chunks(crate::ROWS_MAX) {
        let mut insert = QueryBuilder::<sqlx::Sqlite>::new(
            "insert into events
             (event_id, source, topic, content_digest, received_at, created_at) ",
        );
        insert.push_values(envelopes, |mut row, envelope| {
            row.push_bind(&envelope.event.as_bytes()[..])
                .push_bind(envelope.source.as_str())
                .push_bind(envelope.topic.as_str())
                .push_bind(&envelope.digest.as_bytes()[..])
                .push_bind(envelope.received_at.unix_micros())
                .push_bind(now);
        });
        insert.push(" on conflict do nothing returning event_id, number");
        let rows = insert.build().fetch_all(&mut *connection).await?;
        let new = numbered(&rows)?;
        insert_bodies(connection, envelopes, &new).await?;
        numbers.extend(new);
    }
    let known = envelopes.iter().map(|envelope| &envelope.event);
    let known: Vec<&EventId> = known.filter(|event| !numbers.contains_key(event)).collect();
    if !known.is_empty() {
        let rows = sqlx::query(
            "select e.event_id, e.number from json_each(?1) as wanted
             cross join events as e on e.event_id = unhex(wanted.value)",
        )
        .bind(hex_list(known.into_iter().map(EventId::as_bytes)))
        .fetch_all(connection)
        .await?;
        numbers.extend(numbered(&rows)?);
    }
    Ok(numbers)
}

/// Stores one event; see [`insert`].
pub(crate) async fn insert_one(
    connection: &mut SqliteConnection,
    envelope: &Envelope,
    now: i64,
) -> sqlx::Result<EventNumber> {
    let numbers = insert(connection, &[envelope], now).await?;
    numbers
        .get(&envelope.event)
        .copied()
        .ok_or(sqlx::Error::RowNotFound)
}

fn numbered(rows: &[SqliteRow]) -> sqlx::Result<HashMap<EventId, EventNumber>> {
    rows.iter()
        .map(|row| Ok((row.event("event_id")?, row.event_number("number")?)))
        .collect()
}

/// Stores the bodies of those envelopes whose events are new.
async fn insert_bodies(
    connection: &mut SqliteConnection,
    envelopes: &[&Envelope],
    new: &HashMap<EventId, EventNumber>,
) -> sqlx::Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    let rows = envelopes.iter().filter_map(|envelope| {
        let number = new.get(&envelope.event)?;
        Some((number.as_i64(), envelope))
    });
    let mut insert = QueryBuilder::<sqlx::Sqlite>::new("insert into bodies (event, seal, body) ");
    insert.push_values(rows, |mut row, (number, envelope)| {
        row.push_bind(number)
            .push_bind(envelope.seal.as_deref())
            .push_bind(&envelope.body[..]);
    });
    // If two envelopes have the same event, two bodies are given for it, and the first one is
    // stored.
    insert.push(" on conflict do nothing");
    insert.build().execute(connection).await?;
    Ok(())
}

/// Stores bytes that are not an envelope, and returns the number of their event.
pub(crate) async fn insert_undecodable(
    connection: &mut SqliteConnection,
    undecodable: &UndecodableMessage<'_>,
    now: i64,
) -> sqlx::Result<EventNumber> {
    let event = undecodable.event;
    sqlx::query(
        "insert into events
         (event_id, source, topic, content_digest, received_at, created_at)
         values (?1, 'hookbox', 'hookbox.undecodable', ?2, ?3, ?3)
         on conflict do nothing",
    )
    .bind(&event.as_bytes()[..])
    .bind(&undecodable.digest.as_bytes()[..])
    .bind(now)
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query("select number from events where event_id = ?1")
        .bind(&event.as_bytes()[..])
        .fetch_one(&mut *connection)
        .await?;
    let number = row.event_number("number")?;
    sqlx::query("insert into bodies (event, body) values (?1, ?2) on conflict do nothing")
        .bind(number.as_i64())
        .bind(&undecodable.bytes[..])
        .execute(connection)
        .await?;
    Ok(number)
}

/// Returns whether the file has any event: one that is stored, or one that waits in the queue of a
/// route or of dead letters.
pub(crate) async fn are_any(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "select exists (select 1 from events)
             or exists (select 1 from messages
                        where queue like 'hookbox.%.route.%' or queue like 'hookbox.%.dead')",
    )
    .fetch_one(connection)
    .await
}

/// Returns the events whose id begins with these hex digits: at most two, enough to see that the
/// prefix is ambiguous.
pub(crate) async fn by_prefix(
    connection: &mut SqliteConnection,
    prefix: &str,
) -> sqlx::Result<Vec<EventId>> {
    let Some((lowest, highest)) = EventId::range_of_prefix(prefix) else {
        return Ok(Vec::new());
    };
    let rows = sqlx::query(
        "select event_id from events
         where event_id between ?1 and ?2 order by event_id limit 2",
    )
    .bind(&lowest.as_bytes()[..])
    .bind(&highest.as_bytes()[..])
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| row.event("event_id")).collect()
}

/// Returns the stored events with these ids, and their bodies. Events that are not stored are
/// missing from the result.
pub(crate) async fn stored(
    connection: &mut SqliteConnection,
    events: &[EventId],
) -> sqlx::Result<HashMap<EventId, StoredEvent>> {
    let rows = sqlx::query(
        "select e.event_id, e.topic, e.content_digest, b.seal, b.body
         from json_each(?1) as wanted
         cross join events as e on e.event_id = unhex(wanted.value)
         cross join bodies as b on b.event = e.number",
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

/// Returns one event and its number; `None` when it is not stored. Its lists of claims, receipts,
/// attempts and retries are empty, for the caller to fill.
pub(crate) async fn one(
    connection: &mut SqliteConnection,
    event: &EventId,
) -> sqlx::Result<Option<(EventNumber, EventDetail)>> {
    let row = sqlx::query(
        "select e.number, e.topic, e.content_digest, b.seal, e.received_at, b.body
         from events as e join bodies as b on b.event = e.number where e.event_id = ?1",
    )
    .bind(&event.as_bytes()[..])
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let body = row.bytes("body")?;
    let detail = EventDetail {
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
    };
    Ok(Some((row.event_number("number")?, detail)))
}
