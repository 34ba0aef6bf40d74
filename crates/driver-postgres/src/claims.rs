//! The table `claims`: the state of each event on each route.

use hookbox_driver::{ClaimRow, ClaimState, EventState};
use hookbox_event::{Envelope, EventId, EventNumber, RouteName};
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, claim_state, integer, numbers, uuid};
use crate::{events, retries};

/// An event that this transaction has claimed.
pub(crate) struct NewClaim {
    pub event: EventId,
    pub number: EventNumber,
    pub transaction: String,
}

/// Claims events for a route, in the order of their numbers. It claims those that have no claim yet
/// and whose stored event has the digest of the envelope. Returns the events that it claimed.
///
/// The statement waits while another transaction holds a claim of the same event. The statement
/// itself compares the digests, because another route may have stored the event with another body.
pub(crate) async fn insert(
    c: &mut PgConnection,
    route: &RouteName,
    envelopes: &[&Envelope],
) -> Result<Vec<NewClaim>, Error> {
    let ids: Vec<&[u8; 16]> = envelopes.iter().map(|e| e.event.as_bytes()).collect();
    let digests: Vec<&[u8; 32]> = envelopes.iter().map(|e| e.digest.as_bytes()).collect();
    let rows = sqlx::query(
        "with wanted as materialized (
             select came.event_id,
                    (select number from events
                     where events.event_id = came.event_id
                       and events.content_digest = came.digest) as number
             from unnest($2::bytea[], $3::bytea[]) as came (event_id, digest)
         ), claimed as (
             insert into claims (route, event, state, attempts)
             select $1, number, 'running', 0 from wanted
             where number is not null
             order by number
             on conflict do nothing
             returning event
         )
         select wanted.event_id, claimed.event as number, pg_current_xact_id()::text as transaction
         from claimed join wanted on wanted.number = claimed.event",
    )
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
                transaction: row.try_get("transaction")?,
            })
        })
        .collect()
}

/// What the store knows about an envelope whose event could not be claimed.
pub(crate) struct StoredClaim {
    pub event: EventId,
    pub number: EventNumber,
    /// Whether the envelope's receipt has its outcome already.
    pub settled: bool,
    /// Whether the stored event has the same digest as the envelope.
    pub same: bool,
    /// The state of the event on the route; `None` when the event has no claim on this route.
    pub state: Option<ClaimState>,
    pub transaction: String,
}

/// Looks up what is stored about envelopes whose events could not be claimed.
pub(crate) async fn look_up(
    c: &mut PgConnection,
    route: &RouteName,
    envelopes: &[&Envelope],
) -> Result<Vec<StoredClaim>, Error> {
    let ids: Vec<&[u8; 16]> = envelopes.iter().map(|e| e.event.as_bytes()).collect();
    let digests: Vec<&[u8; 32]> = envelopes.iter().map(|e| e.digest.as_bytes()).collect();
    let receipts: Vec<_> = envelopes
        .iter()
        .map(|e| uuid(e.receipt.as_bytes()))
        .collect();
    let rows = sqlx::query(
        "select wanted.event_id,
                events.number,
                events.content_digest = wanted.digest as same,
                claims.state,
                receipts.receipt_id is not null as settled,
                pg_current_xact_id()::text as transaction
         from unnest($2::bytea[], $3::bytea[], $4::uuid[])
             as wanted (event_id, digest, receipt_id)
         join events on events.event_id = wanted.event_id
         left join claims on claims.event = events.number and claims.route = $1
         left join receipts
             on receipts.receipt_id = wanted.receipt_id and receipts.route = $1",
    )
    .bind(route.as_str())
    .bind(ids)
    .bind(digests)
    .bind(receipts)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            let state: Option<&str> = row.try_get("state")?;
            Ok(StoredClaim {
                event: row.event("event_id")?,
                number: row.number("number")?,
                settled: row.try_get("settled")?,
                same: row.try_get("same")?,
                state: state.map(|_| row.known("state", claim_state)).transpose()?,
                transaction: row.try_get("transaction")?,
            })
        })
        .collect()
}

/// A claim that this transaction has locked.
pub(crate) struct LockedClaim {
    pub event: EventId,
    pub number: EventNumber,
    pub state: ClaimState,
    /// The number of attempts that are counted.
    pub attempts: u32,
    pub transaction: String,
}

/// Locks claims in the order of the numbers of their events. Returns the state of each claim, and
/// the number that PostgreSQL gave this transaction. Waits for other transactions that hold one of
/// the claims.
pub(crate) async fn lock(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventId],
) -> Result<Vec<LockedClaim>, Error> {
    let ids: Vec<&[u8; 16]> = events.iter().map(EventId::as_bytes).collect();
    let rows = sqlx::query(
        "select e.event_id, c.event as number, c.state, c.attempts,
                pg_current_xact_id()::text as transaction
         from events e join claims c on c.event = e.number and c.route = $1
         where e.event_id = any ($2)
         order by c.event
         for update of c",
    )
    .bind(route.as_str())
    .bind(ids)
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(LockedClaim {
                event: row.event("event_id")?,
                number: row.number("number")?,
                state: row.known("state", claim_state)?,
                attempts: row.attempt("attempts")?,
                transaction: row.try_get("transaction")?,
            })
        })
        .collect()
}

/// Returns the state by which a failure or a deferral is recorded of an envelope whose claim is
/// locked. It reads only what decides in the state of that claim.
pub(crate) async fn event_state(
    c: &mut PgConnection,
    route: &RouteName,
    envelope: &Envelope,
    locked: &LockedClaim,
) -> Result<EventState, Error> {
    let mut stored = EventState {
        claim: Some((locked.state, locked.attempts)),
        is_same_body: true,
        waits_for: None,
    };
    match locked.state {
        ClaimState::Running => {
            let event = events::one(c, &envelope.event).await?;
            stored.is_same_body = event.is_none_or(|event| event.digest == envelope.digest);
        }
        ClaimState::Retrying => {
            let waiting = retries::waiting(c, route, &[locked.number]).await?;
            stored.waits_for = waiting.first().map(|retry| retry.waiting.attempt);
        }
        ClaimState::Done | ClaimState::Dead => {}
    }
    Ok(stored)
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

/// Withdraws running claims, provided that the current transaction has the given number: deletes
/// those of `fresh` events, and sets those of `granted` events back to retrying. Returns how many
/// claims were changed.
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
             where route = $2 and event = any ($3) and state = 'running'
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

/// Runs the guard, the last statement before a commit. It changes the given claims from running to
/// their final states, but only in the transaction with the given number, and only if its commit
/// will be durable. A handler may have ended that transaction or switched durability off. Returns
/// whether all claims were changed. If not, the transaction must not be committed.
pub(crate) async fn end(
    c: &mut PgConnection,
    transaction: String,
    ends: Vec<(RouteName, EventNumber, ClaimState, u32)>,
) -> Result<bool, Error> {
    if ends.is_empty() {
        return sqlx::query_scalar("select pg_current_xact_id()::text = $1")
            .bind(transaction)
            .fetch_one(c)
            .await;
    }
    let routes: Vec<&str> = ends.iter().map(|(route, ..)| route.as_str()).collect();
    let events: Vec<i64> = ends.iter().map(|(_, event, ..)| event.as_i64()).collect();
    let states: Vec<&str> = ends.iter().map(|(_, _, state, _)| state.as_str()).collect();
    let attempts = ends.iter().map(|(.., attempts)| integer(*attempts));
    let attempts: Vec<i32> = attempts.collect();
    let done = sqlx::query(
        "update claims set state = ends.state, attempts = ends.attempts, settled_at = now()
         from unnest($2::text[], $3::bigint[], $4::text[], $5::int[])
             as ends (route, event, state, attempts)
         where claims.event = ends.event
           and claims.route = ends.route
           and claims.state = 'running'
           and pg_current_xact_id()::text = $1
           and current_setting('synchronous_commit') in ('on', 'remote_apply')",
    )
    .bind(transaction)
    .bind(routes)
    .bind(events)
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

/// Claims an event whose first attempt has failed, and sets the claim to `state`, which follows
/// from the failure. Returns the number of the event if the claim was made. It is made only if the
/// event has no claim and the stored event has the envelope's digest.
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

/// Claims bytes that are not an envelope, in the state dead. Returns their number if they had no
/// claim yet.
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

/// Makes dead events due again. Each claim then waits for one further attempt; the attempts already
/// made stay counted.
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

/// Returns the state of one event on every route.
pub(crate) async fn of_event(
    c: &mut PgConnection,
    event: EventNumber,
) -> Result<Vec<ClaimRow>, Error> {
    let rows = sqlx::query(
        "select route, state, attempts, claimed_at, settled_at
         from claims where event = $1 order by route",
    )
    .bind(event.as_i64())
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(ClaimRow {
                route: row.word("route", str::parse)?,
                state: row.known("state", claim_state)?,
                attempts: row.attempt("attempts")?,
                claimed_at: row.moment("claimed_at")?,
                settled_at: row.moment_or_none("settled_at")?,
            })
        })
        .collect()
}
