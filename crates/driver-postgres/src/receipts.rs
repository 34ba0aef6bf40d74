//! The table `receipts`: the outcome of every accepted request (receipt) on every route.

use hookbox_driver::{ReceiptRow, StoredOutcome};
use hookbox_event::{
    ContentDigest, Envelope, EventId, EventNumber, InstanceId, ReceiptId, RouteName,
};
use sqlx::{Error, PgConnection, Row};

use crate::column::{self, Columns, bigint, moment, numbers, text, uuid};
use crate::ends::{DoneEnd, EndColumns};

/// The outcome of one receipt, to be written.
pub(crate) struct OutcomeRow<'a> {
    pub event: EventNumber,
    pub envelope: &'a Envelope,
    pub word: StoredOutcome,
    pub other_digest: Option<ContentDigest>,
}

/// What [`insert`] has found out about the transaction before it writes outcomes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// Whether the transaction is the one that made the claims. If not, nothing was written.
    pub is_same: bool,
    /// Whether the claims are unchanged and the commit will be durable. If not, nothing was
    /// written.
    pub is_whole: bool,
}

/// The statement of [`insert`]. The array of the claims is a subquery, as in
/// [`crate::claims::insert`]; the outer cast makes `any` take it as an array and not as rows. The
/// other arrays are only inserted, so their lengths hardly change the cost.
const INSERT: &str = "with found as materialized (
         select pg_current_xact_id()::text = $1 as is_same,
                current_setting('synchronous_commit') in ('on', 'remote_apply')
                    and cardinality($12::bigint[])
                        = (select count(*) from claims
                           where claims.route = $2
                             and claims.event = any ((select $12::bigint[])::bigint[])
                             and claims.state = 'done' and claims.attempts = 1) as is_whole
     ), written as (
         insert into receipts (route, receipt_id, event, outcome, key_id, instance, number,
                               traceparent, received_at, other_digest)
         select $2, came.*
         from unnest($3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::uuid[],
                     $8::bigint[], $9::text[], $10::timestamptz[], $11::bytea[]) as came
         where (select is_same and is_whole from found)
         order by 2
         on conflict do nothing
     ), ended as (
         insert into ends (ended_xid, event, round, attempts, route, outcome)
         select pg_current_xact_id(), came.event, came.round, came.attempts, $2, 'done'
         from unnest($13::bigint[], $14::int[], $15::int[]) as came (event, round, attempts)
         where (select is_same and is_whole from found)
         order by came.event
     )
     select is_same, is_whole from found";

/// Writes outcomes, and the ends of the events that are done. Writes nothing unless the current
/// transaction has the number `transaction`, the claims of the events in `done` are unchanged, and
/// the commit will be durable. A receipt that already has an outcome keeps it.
///
/// If a handler has ended the transaction, the statement would be committed at once as a
/// transaction of its own. In that case it must write nothing.
pub(crate) async fn insert(
    c: &mut PgConnection,
    transaction: &str,
    route: &RouteName,
    receipts: &[OutcomeRow<'_>],
    done: &[EventNumber],
    ended: &[DoneEnd],
) -> Result<Found, Error> {
    let all = || receipts.iter().map(|one| one.envelope);
    let ids: Vec<_> = all().map(|e| uuid(e.receipt.as_bytes())).collect();
    let events: Vec<i64> = receipts.iter().map(|one| one.event.as_i64()).collect();
    let outcomes: Vec<&str> = receipts.iter().map(|one| one.word.as_str()).collect();
    let keys: Vec<_> = all().map(|e| text(&e.key_id)).collect();
    let instances: Vec<_> = all().map(|e| uuid(e.instance.as_bytes())).collect();
    let numbers: Vec<i64> = all().map(|e| bigint(e.number)).collect();
    let traces: Vec<_> = all().map(|e| e.traceparent.as_deref().map(text)).collect();
    let received: Vec<_> = all().map(|e| moment(e.received_at)).collect();
    let others = receipts.iter().map(|one| one.other_digest.as_ref());
    let others: Vec<Option<&[u8; 32]>> = others
        .map(|digest| digest.map(ContentDigest::as_bytes))
        .collect();
    let ended = EndColumns::of(ended);
    let row = sqlx::query(INSERT)
        .bind(transaction)
        .bind(route.as_str())
        .bind(ids)
        .bind(events)
        .bind(outcomes)
        .bind(keys)
        .bind(instances)
        .bind(numbers)
        .bind(traces)
        .bind(received)
        .bind(others)
        .bind(column::numbers(done))
        .bind(ended.events)
        .bind(ended.rounds)
        .bind(ended.attempts)
        .fetch_one(c)
        .await?;
    Ok(Found {
        is_same: row.try_get("is_same")?,
        is_whole: row.try_get("is_whole")?,
    })
}

/// Writes the outcome of one receipt in a transaction that no handler has used.
pub(crate) async fn insert_one(
    c: &mut PgConnection,
    route: &RouteName,
    receipt: &OutcomeRow<'_>,
) -> Result<(), Error> {
    let envelope = receipt.envelope;
    sqlx::query(
        "insert into receipts (route, receipt_id, event, outcome, key_id, instance, number,
                               traceparent, received_at, other_digest)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict do nothing",
    )
    .bind(route.as_str())
    .bind(uuid(envelope.receipt.as_bytes()))
    .bind(receipt.event.as_i64())
    .bind(receipt.word.as_str())
    .bind(text(&envelope.key_id))
    .bind(uuid(envelope.instance.as_bytes()))
    .bind(bigint(envelope.number))
    .bind(envelope.traceparent.as_deref().map(text))
    .bind(moment(envelope.received_at))
    .bind(receipt.other_digest.as_ref().map(ContentDigest::as_bytes))
    .execute(c)
    .await?;
    Ok(())
}

/// Changes the outcome of the receipts of these events that are retrying or dead, because these two
/// outcomes follow the state of the event. Receipts with another outcome, such as duplicates, keep
/// it.
pub(crate) async fn update_outcome(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventNumber],
    outcome: StoredOutcome,
) -> Result<(), Error> {
    sqlx::query(
        "update receipts set outcome = $3, settled_at = now()
         where route = $1 and event = any ($2) and outcome in ('retrying', 'dead')",
    )
    .bind(route.as_str())
    .bind(numbers(events))
    .bind(outcome.as_str())
    .execute(c)
    .await?;
    Ok(())
}

/// Sets those receipts of these events that have the outcome dead back to retrying. Receipts with
/// another outcome keep it.
pub(crate) async fn revive(
    c: &mut PgConnection,
    routes: &[String],
    events: &[EventNumber],
) -> Result<(), Error> {
    sqlx::query(
        "update receipts set outcome = 'retrying', settled_at = now()
         from unnest($1::text[], $2::bigint[]) as chosen (route, event)
         where receipts.event = chosen.event
           and receipts.route = chosen.route
           and receipts.outcome = 'dead'",
    )
    .bind(routes)
    .bind(numbers(events))
    .execute(c)
    .await?;
    Ok(())
}

/// Sets those receipts of these events that have the outcome done back to retrying. Receipts with
/// another outcome keep it.
pub(crate) async fn reopen(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventNumber],
) -> Result<(), Error> {
    sqlx::query(
        "update receipts set outcome = 'retrying', settled_at = now()
         where route = $1 and event = any ($2) and outcome = 'done'",
    )
    .bind(route.as_str())
    .bind(numbers(events))
    .execute(c)
    .await?;
    Ok(())
}

/// Gives each event a receipt on a route that has not had the event before: a copy of the first
/// receipt that the event has on any route, with the outcome retrying.
pub(crate) async fn copy_first(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventNumber],
) -> Result<(), Error> {
    sqlx::query(
        "insert into receipts (route, receipt_id, event, outcome, key_id, instance, number,
                               traceparent, received_at)
         select $1, receipt_id, event, 'retrying', key_id, instance, first.number, traceparent,
                received_at
         from unnest($2::bigint[]) as chosen (number)
         cross join lateral (
             select * from receipts
             where receipts.event = chosen.number and receipts.outcome <> 'conflict'
             order by outcome = 'duplicate', received_at, receipt_id
             limit 1
         ) as first
         order by receipt_id
         on conflict do nothing",
    )
    .bind(route.as_str())
    .bind(numbers(events))
    .execute(c)
    .await?;
    Ok(())
}

/// Returns the event of a receipt; `None` when the receipt has no outcome. The primary key of the
/// table begins with the route, so the query looks the receipt up once for each route that has
/// receipts. It finds these routes by a recursive query that jumps from one route to the next in
/// that index.
pub(crate) async fn event_of(
    c: &mut PgConnection,
    receipt: &ReceiptId,
) -> Result<Option<EventId>, Error> {
    let row = sqlx::query(
        "with recursive routes as (
             (select route from receipts order by route limit 1)
             union all
             select (select r.route from receipts r where r.route > routes.route
                     order by r.route limit 1)
             from routes where routes.route is not null)
         select events.event_id from routes
         join receipts on receipts.route = routes.route and receipts.receipt_id = $1
         join events on events.number = receipts.event
         limit 1",
    )
    .bind(uuid(receipt.as_bytes()))
    .fetch_optional(c)
    .await?;
    row.map(|row| row.event("event_id")).transpose()
}

/// Returns the receipts of one event, oldest first.
pub(crate) async fn of_event(
    c: &mut PgConnection,
    event: EventNumber,
) -> Result<Vec<ReceiptRow>, Error> {
    let rows = sqlx::query(
        "select receipt_id, route, outcome, key_id, instance, number, other_digest, received_at,
                settled_at
         from receipts where event = $1
         order by received_at, receipt_id, route",
    )
    .bind(event.as_i64())
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ReceiptRow {
                receipt: row.id16("receipt_id", ReceiptId::from_bytes)?,
                route: row.word("route", str::parse)?,
                outcome: row.try_get("outcome")?,
                key_id: row.try_get("key_id")?,
                instance: row.id16("instance", InstanceId::from_bytes)?,
                number: row.count("number")?,
                other_digest: row.digest_or_none("other_digest")?,
                received_at: row.moment("received_at")?,
                settled_at: row.moment("settled_at")?,
            })
        })
        .collect()
}
