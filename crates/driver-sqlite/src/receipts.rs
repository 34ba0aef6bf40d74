//! The table `receipts`: the outcome of every accepted request (receipt) on every route.

use std::collections::HashSet;

use hookbox_driver::{ReceiptRow, StoredOutcome, storable};
use hookbox_event::{ContentDigest, Envelope, EventId, EventNumber, ReceiptId, RouteName};
use sqlx::QueryBuilder;
use sqlx::sqlite::SqliteConnection;

use crate::column::{Columns, hex_list, number_list, numbers};

/// The outcome of one receipt, to be written.
pub(crate) struct OutcomeRow<'a> {
    pub(crate) envelope: &'a Envelope,
    pub(crate) event: EventNumber,
    pub(crate) word: StoredOutcome,
    pub(crate) other_digest: Option<ContentDigest>,
}

/// Returns those of these receipts that have an outcome on the route.
pub(crate) async fn known(
    connection: &mut SqliteConnection,
    route: &RouteName,
    receipts: impl IntoIterator<Item = &ReceiptId>,
) -> sqlx::Result<HashSet<ReceiptId>> {
    let rows = sqlx::query(
        "select r.receipt_id from json_each(?2) as wanted
         cross join receipts as r on r.route = ?1 and r.receipt_id = unhex(wanted.value)",
    )
    .bind(route.as_str())
    .bind(hex_list(
        receipts.into_iter().map(|receipt| receipt.as_bytes()),
    ))
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| row.receipt("receipt_id")).collect()
}

/// Writes outcomes. A receipt that already has an outcome keeps it.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    route: &RouteName,
    receipts: &[OutcomeRow<'_>],
    now: i64,
) -> sqlx::Result<()> {
    for receipts in receipts.chunks(crate::ROWS_MAX) {
        let mut insert = QueryBuilder::<sqlx::Sqlite>::new(
            "insert into receipts (route, receipt_id, event, outcome, key_id, instance, number,
             traceparent, received_at, settled_at, other_digest) ",
        );
        insert.push_values(receipts, |mut row, one| {
            let envelope = one.envelope;
            let other = one.other_digest.map(|digest| digest.as_bytes().to_vec());
            row.push_bind(route.as_str())
                .push_bind(&envelope.receipt.as_bytes()[..])
                .push_bind(one.event.as_i64())
                .push_bind(one.word.as_str())
                .push_bind(storable(&envelope.key_id))
                .push_bind(&envelope.instance.as_bytes()[..])
                // SQLite's integers are signed and have 64 bits. Sequence numbers count up from 1
                // in each process, so they never exceed the largest of these integers.
                .push_bind(i64::try_from(envelope.number).unwrap_or(i64::MAX))
                .push_bind(envelope.traceparent.as_deref().map(storable))
                .push_bind(envelope.received_at.unix_micros())
                .push_bind(now)
                .push_bind(other);
        });
        insert.push(" on conflict do nothing");
        insert.build().execute(&mut *connection).await?;
    }
    Ok(())
}

/// The statement of [`update_outcome`].
pub(crate) const UPDATE_OUTCOME: &str = "update receipts set outcome = ?3, settled_at = ?4
     where route = ?1 and event in (select value from json_each(?2))
       and outcome in ('retrying', 'dead') and outcome <> ?3";

/// Changes the outcome of the receipts of these events that are retrying or dead to `word`, because
/// these two outcomes follow the state of the event. Receipts with another outcome, such as
/// duplicates, keep it.
pub(crate) async fn update_outcome(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventNumber],
    word: StoredOutcome,
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(UPDATE_OUTCOME)
        .bind(route.as_str())
        .bind(numbers(events))
        .bind(word.as_str())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// The statement of [`revive`]. `CROSS JOIN` makes SQLite read the list of ids first, and then look
/// up each dead letter.
pub(crate) const REVIVE: &str = "update receipts set outcome = 'retrying', settled_at = ?2
     where outcome = 'dead' and (event, route) in (
         select d.event, d.route from json_each(?1) as chosen
         cross join dead_letters as d on d.id = chosen.value)";

/// Sets those receipts of the events of these dead letters that have the outcome dead back to
/// retrying.
pub(crate) async fn revive(
    connection: &mut SqliteConnection,
    dead_letters: &[i64],
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(REVIVE)
        .bind(number_list(dead_letters.iter().copied()))
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// Sets those receipts of these events that have the outcome done back to retrying. Receipts with
/// another outcome keep it.
pub(crate) async fn reopen(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventNumber],
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "update receipts set outcome = 'retrying', settled_at = ?3
         where route = ?1 and event in (select value from json_each(?2)) and outcome = 'done'",
    )
    .bind(route.as_str())
    .bind(numbers(events))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Gives each event a receipt on a route that has not had the event before: a copy of the first
/// receipt that the event has on any route, with the outcome retrying.
pub(crate) async fn copy_first(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventNumber],
    now: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into receipts (route, receipt_id, event, outcome, key_id, instance, number,
                               traceparent, received_at, settled_at)
         select ?1, r.receipt_id, r.event, 'retrying', r.key_id, r.instance, r.number,
                r.traceparent, r.received_at, ?3
         from json_each(?2) as chosen
         cross join receipts as r on (r.receipt_id, r.route) = (
             select first.receipt_id, first.route from receipts as first
             where first.event = chosen.value and first.outcome <> 'conflict'
             order by first.outcome = 'duplicate', first.received_at, first.receipt_id
             limit 1)",
    )
    .bind(route.as_str())
    .bind(numbers(events))
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}

/// Returns the event of a receipt; `None` when the receipt has no outcome.
pub(crate) async fn event_of(
    connection: &mut SqliteConnection,
    receipt: &ReceiptId,
) -> sqlx::Result<Option<EventId>> {
    let row = sqlx::query(
        "select e.event_id from receipts as r join events as e on e.number = r.event
         where r.receipt_id = ?1 limit 1",
    )
    .bind(&receipt.as_bytes()[..])
    .fetch_optional(connection)
    .await?;
    row.map(|row| row.event("event_id")).transpose()
}

/// Returns the receipts of one event, oldest first.
pub(crate) async fn of_event(
    connection: &mut SqliteConnection,
    event: EventNumber,
) -> sqlx::Result<Vec<ReceiptRow>> {
    // The index of the receipts is searched by event and route. So the claims of the event are read
    // first: they name its routes.
    let rows = sqlx::query(
        "select r.receipt_id, r.route, r.outcome, r.key_id, r.instance, r.number, r.other_digest,
                r.received_at, r.settled_at
         from claims as c
         cross join receipts as r on r.route = c.route and r.event = c.event
         where c.event = ?1 order by r.received_at, r.receipt_id, r.route",
    )
    .bind(event.as_i64())
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ReceiptRow {
                receipt: row.receipt("receipt_id")?,
                route: row.parsed("route")?,
                outcome: row.text("outcome")?,
                key_id: row.text("key_id")?,
                instance: row.instance("instance")?,
                number: row.count("number")?,
                other_digest: row.digest_or_none("other_digest")?,
                received_at: row.moment("received_at")?,
                settled_at: row.moment("settled_at")?,
            })
        })
        .collect()
}
