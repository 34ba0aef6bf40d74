//! The table `claims`: the state of each event on each route.

use hookbox_driver::{ClaimRow, ClaimState};
use hookbox_event::{Envelope, EventId, EventNumber, RouteName};
use sqlx::{Error, PgConnection, Row};

use crate::claim_states::{self, evidence};
use crate::column::{Columns, claim_state, integer, numbers};
use crate::meta::receipts_kept_from;

/// An event that this transaction has claimed.
pub(crate) struct NewClaim {
    pub event: EventId,
    pub number: EventNumber,
    /// The state in which the claim was written.
    pub written: ClaimState,
    pub transaction: String,
}

/// Claims events for a route, in the order of their numbers. It claims only events that have no
/// claim yet and whose stored digest is that of the envelope. Returns the events that it claimed.
///
/// A claim is inserted as done at attempt 1, before the handler runs. Nearly all claims end in this
/// state, so their rows need no second write. hookbox commits such a claim only together with the
/// receipt that ends it. So if this receipt is missing, a handler has committed the claim; see
/// [`hookbox_driver::ClaimEvidence`].
///
/// If receipts of an event may have been dropped, a missing receipt proves nothing. So the claim of
/// such an event is inserted as running, and gets its final state before the commit.
///
/// The statement waits while another transaction holds a claim of the same event. It compares the
/// digests itself, because a transaction for another route may just have stored the event with
/// another body.
///
/// Its arrays are subqueries, so that the server keeps its plan. With an array of which it knows
/// the length, the server makes a new plan for each small batch: a plan for all values assumes ten
/// events, and so seems to cost more.
pub(crate) async fn insert(
    c: &mut PgConnection,
    route: &RouteName,
    envelopes: &[&Envelope],
) -> Result<Vec<NewClaim>, Error> {
    let ids: Vec<&[u8; 16]> = envelopes.iter().map(|e| e.event.as_bytes()).collect();
    let digests: Vec<&[u8; 32]> = envelopes.iter().map(|e| e.digest.as_bytes()).collect();
    let rows = sqlx::query(concat!(
        "with wanted as materialized (
             select came.event_id,
                    (select number from events
                     where events.event_id = came.event_id
                       and events.content_digest = came.digest) as number
             from unnest((select $2::bytea[]), (select $3::bytea[])) as came (event_id, digest)
         ), claimed as (
             insert into claims (route, event, state, attempts, settled_at)
             select $1, number,
                    case when is_final then 'done' else 'running' end,
                    case when is_final then 1 else 0 end,
                    case when is_final then now() end
             from (select number, number >= ",
        receipts_kept_from!(),
        " as is_final from wanted where number is not null) as new
             order by number
             on conflict do nothing
             returning event, state
         )
         select wanted.event_id, claimed.event as number, claimed.state,
                pg_current_xact_id()::text as transaction
         from claimed join wanted on wanted.number = claimed.event",
    ))
    .bind(route.as_str())
    .bind(ids)
    .bind(digests)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(NewClaim {
                event: row.event("event_id")?,
                number: row.number("number")?,
                written: row.known("state", claim_state)?,
                transaction: row.try_get("transaction")?,
            })
        })
        .collect()
}

/// Sets claims back to running, because another attempt on each of their events starts now. This
/// transaction has locked the claims.
pub(crate) async fn rerun(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventNumber],
) -> Result<(), Error> {
    sqlx::query("update claims set state = 'running' where route = $1 and event = any ($2)")
        .bind(route.as_str())
        .bind(numbers(events))
        .execute(c)
        .await?;
    Ok(())
}

/// Withdraws claims that the current transaction has made: deletes the claims of `fresh` events,
/// and sets those of `granted` events back to retrying. Changes nothing unless the transaction has
/// the given number. Returns how many claims it has changed.
pub(crate) async fn withdraw(
    c: &mut PgConnection,
    transaction: String,
    route: &RouteName,
    fresh: &[EventNumber],
    granted: &[EventNumber],
) -> Result<u64, Error> {
    let count: i64 = sqlx::query_scalar(
        "with deleted as (
             delete from claims
             where route = $2 and event = any ($3) and state in ('running', 'done')
               and pg_current_xact_id()::text = $1 returning event
         ), waiting as (
             update claims set state = 'retrying'
             where route = $2 and event = any ($4) and state = 'running'
               and pg_current_xact_id()::text = $1 returning event
         )
         select (select count(*) from deleted) + (select count(*) from waiting)",
    )
    .bind(transaction)
    .bind(route.as_str())
    .bind(numbers(fresh))
    .bind(numbers(granted))
    .fetch_one(c)
    .await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The final state of a claim, which the guard writes.
pub(crate) struct Final {
    pub route: RouteName,
    pub event: EventNumber,
    /// The state in which this transaction has written the claim.
    pub written: ClaimState,
    pub state: ClaimState,
    pub attempts: u32,
}

/// Runs the guard, the last statement before a commit. It changes the given claims to their final
/// states. It changes nothing if a handler has ended the transaction with the given number, or has
/// set `synchronous_commit` so that the commit would not be durable. Returns whether all claims
/// were changed. If not, the transaction must not be committed.
pub(crate) async fn end(
    c: &mut PgConnection,
    transaction: String,
    ends: Vec<Final>,
) -> Result<bool, Error> {
    if ends.is_empty() {
        return sqlx::query_scalar(
            "select pg_current_xact_id()::text = $1
                    and current_setting('synchronous_commit') in ('on', 'remote_apply')",
        )
        .bind(transaction)
        .fetch_one(c)
        .await;
    }
    let routes: Vec<&str> = ends.iter().map(|end| end.route.as_str()).collect();
    let events: Vec<i64> = ends.iter().map(|end| end.event.as_i64()).collect();
    let written: Vec<&str> = ends.iter().map(|end| end.written.as_str()).collect();
    let states: Vec<&str> = ends.iter().map(|end| end.state.as_str()).collect();
    let attempts: Vec<i32> = ends.iter().map(|end| integer(end.attempts)).collect();
    let done = sqlx::query(
        "update claims set state = ends.state, attempts = ends.attempts, settled_at = now()
         from unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::int[])
             as ends (route, event, written, state, attempts)
         where claims.event = ends.event
           and claims.route = ends.route
           and claims.state = ends.written
           and pg_current_xact_id()::text = $1
           and current_setting('synchronous_commit') in ('on', 'remote_apply')",
    )
    .bind(transaction)
    .bind(routes)
    .bind(events)
    .bind(written)
    .bind(states)
    .bind(attempts)
    .execute(c)
    .await?;
    Ok(done.rows_affected() == ends.len() as u64)
}

/// Returns the number that PostgreSQL gave the open transaction. `None` when it has no number yet,
/// or no transaction is open.
pub(crate) async fn transaction(c: &mut PgConnection) -> Result<Option<String>, Error> {
    sqlx::query_scalar("select pg_current_xact_id_if_assigned()::text")
        .fetch_one(c)
        .await
}

/// Claims an event whose first attempt has failed, in the state that follows from the failure. The
/// claim is made only if the event has no claim and the stored event has the envelope's digest.
/// Returns the number of the event if the claim was made.
pub(crate) async fn insert_failed(
    c: &mut PgConnection,
    route: &RouteName,
    envelope: &Envelope,
    state: ClaimState,
    attempts: u32,
) -> Result<Option<EventNumber>, Error> {
    let row = sqlx::query(
        "insert into claims (route, event, state, attempts, settled_at)
         select $1, number, $3, $4, now() from events
         where event_id = $2 and content_digest = $5
         on conflict do nothing
         returning event",
    )
    .bind(route.as_str())
    .bind(envelope.event.as_bytes())
    .bind(state.as_str())
    .bind(integer(attempts))
    .bind(envelope.digest.as_bytes())
    .fetch_optional(c)
    .await?;
    row.map(|row| row.number("event")).transpose()
}

/// Claims bytes that are not an envelope, in the state dead. Returns the number of their event if
/// it had no claim yet.
pub(crate) async fn insert_undecodable(
    c: &mut PgConnection,
    route: &RouteName,
    event: &EventId,
) -> Result<Option<EventNumber>, Error> {
    let row = sqlx::query(
        "insert into claims (route, event, state, attempts, settled_at)
         select $1, number, 'dead', 0, now() from events where event_id = $2
         on conflict do nothing
         returning event",
    )
    .bind(route.as_str())
    .bind(event.as_bytes())
    .fetch_optional(c)
    .await?;
    row.map(|row| row.number("event")).transpose()
}

/// Sets a locked claim to `state`, which follows from another failed attempt.
pub(crate) async fn failed_again(
    c: &mut PgConnection,
    route: &RouteName,
    event: EventNumber,
    state: ClaimState,
    attempts: u32,
) -> Result<(), Error> {
    sqlx::query(
        "update claims set state = $3, attempts = $4, settled_at = now()
         where route = $1 and event = $2",
    )
    .bind(route.as_str())
    .bind(event.as_i64())
    .bind(state.as_str())
    .bind(integer(attempts))
    .execute(c)
    .await?;
    Ok(())
}

/// Makes dead events wait for one further attempt. The attempts already made stay counted.
pub(crate) async fn revive(
    c: &mut PgConnection,
    routes: &[String],
    events: &[EventNumber],
) -> Result<(), Error> {
    sqlx::query(
        "update claims set state = 'retrying', settled_at = now()
         from unnest($1::text[], $2::bigint[]) as chosen (route, event)
         where claims.event = chosen.event
           and claims.route = chosen.route
           and claims.state = 'dead'",
    )
    .bind(routes)
    .bind(numbers(events))
    .execute(c)
    .await?;
    Ok(())
}

/// Makes done events wait for one further attempt, and returns the events that were done. The
/// attempts already made stay counted.
pub(crate) async fn reopen(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventNumber],
) -> Result<Vec<EventNumber>, Error> {
    let rows = sqlx::query(
        "update claims set state = 'retrying', settled_at = now()
         where route = $1 and event = any ($2) and state = 'done'
         returning event",
    )
    .bind(route.as_str())
    .bind(numbers(events))
    .fetch_all(c)
    .await?;
    rows.iter().map(|row| row.number("event")).collect()
}

/// Claims events that the route has not had before, in the state retrying. Returns the events that
/// had no claim yet.
pub(crate) async fn insert_waiting(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventNumber],
) -> Result<Vec<EventNumber>, Error> {
    let rows = sqlx::query(
        "insert into claims (route, event, state, attempts, settled_at)
         select $1, number, 'retrying', 0, now() from unnest($2::bigint[]) as number
         order by number
         on conflict do nothing
         returning event",
    )
    .bind(route.as_str())
    .bind(numbers(events))
    .fetch_all(c)
    .await?;
    rows.iter().map(|row| row.number("event")).collect()
}

/// Returns the state of one event on every route.
pub(crate) async fn of_event(
    c: &mut PgConnection,
    event: EventNumber,
) -> Result<Vec<ClaimRow>, Error> {
    let rows = sqlx::query(concat!(
        "select c.route, c.claimed_at, c.settled_at, c.epoch, ",
        evidence!(),
        " from claims c where c.event = $1 order by c.route",
    ))
    .bind(event.as_i64())
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            let (state, attempts) = claim_states::counted(row)?;
            Ok(ClaimRow {
                route: row.word("route", str::parse)?,
                state,
                attempts,
                claimed_at: row.moment("claimed_at")?,
                settled_at: row.moment_or_none("settled_at")?,
                epoch: row.attempt_or_none("epoch")?,
            })
        })
        .collect()
}
