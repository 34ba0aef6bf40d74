//! The leases of external calls. They are stored in columns of the tables `claims` and `retries`.

use std::time::Duration;

use hookbox_driver::{ClaimState, DeferReason, DeferralWrite, Leases, TargetName, WaitingAttempt};
use hookbox_event::{EventNumber, RouteName, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, integer, numbers};
use crate::ends::{DoneEnd, EndColumns};
use crate::retries::{DELAY_MAX, is_leased, is_put_off, reason_and_age};

/// What the store knows about an event that waits for an attempt.
pub(crate) struct StoredLease {
    pub event: EventNumber,
    pub waiting: WaitingAttempt,
    pub leases: Leases,
    /// Why the attempt is deferred, and for how long it has been deferred.
    pub deferred: Option<(DeferReason, Duration)>,
}

/// Locks the waiting attempts of these events in the order of the events' numbers, and returns
/// them. This transaction has already locked the claims of the events.
pub(crate) async fn stored(
    c: &mut PgConnection,
    route: &RouteName,
    events: &[EventNumber],
) -> Result<Vec<StoredLease>, Error> {
    let rows = sqlx::query(concat!(
        "select r.event, attempt, attempts_before, coalesce(epoch, 0) as epoch,
                coalesce(case when leased_attempt = attempt then leases end, 0) as leases,
                case when attempts_before > 0 then coalesce((
                    select max(a.attempt) from attempts a
                    where a.event = r.event and a.route = r.route and a.outcome = 'done'), 0)
                else 0 end as last_done,
                case when deferred_attempt = attempt then deferred_reason end as reason,
                extract(epoch from now() - deferred_since)::float8 as age, ",
        is_put_off!(),
        " from retries r join claims c on c.event = r.event and c.route = r.route
         where r.route = $1 and r.event = any ($2)
         order by r.event
         for update of r",
    ))
    .bind(route.as_str())
    .bind(numbers(events))
    .fetch_all(c)
    .await?;
    rows.iter().map(stored_lease).collect()
}

fn stored_lease(row: &PgRow) -> Result<StoredLease, Error> {
    Ok(StoredLease {
        event: row.number("event")?,
        waiting: WaitingAttempt {
            attempt: row.attempt("attempt")?,
            attempts_before: row.attempt("attempts_before")?,
            is_put_off: row.try_get("is_put_off")?,
        },
        leases: Leases {
            epoch: row.attempt("epoch")?,
            without_outcome: row.attempt("leases")?,
            last_done: row.attempt("last_done")?,
        },
        deferred: reason_and_age(row)?,
    })
}

/// The calls in flight to a target at a moment.
pub(crate) struct InFlight {
    /// How many leases of the target have not ended.
    pub calls: u32,
    /// The moment, by the server's clock.
    pub now: Timestamp,
    /// For how long the transaction has been open then.
    pub age: Duration,
}

/// Returns how many leases of a target have not ended at the present time.
pub(crate) async fn in_flight(
    c: &mut PgConnection,
    target: &TargetName,
) -> Result<InFlight, Error> {
    let row = sqlx::query(concat!(
        "select count(*) as in_flight, clock_timestamp() as now,
                extract(epoch from clock_timestamp() - now())::float8 as age
         from retries
         where target = $1 and not_before > now() and ",
        is_leased!(),
    ))
    .bind(target.as_str())
    .fetch_one(c)
    .await?;
    let age: f64 = row.try_get("age")?;
    Ok(InFlight {
        calls: u32::try_from(row.count("in_flight")?).unwrap_or(u32::MAX),
        now: row.moment("now")?,
        // If the server's clock was set back, the age is negative.
        age: Duration::try_from_secs_f64(age).unwrap_or_default(),
    })
}

/// A lease to be written.
pub(crate) struct NewLease {
    pub event: EventNumber,
    /// The state in which this transaction has written the claim.
    pub written: ClaimState,
    pub attempt: u32,
    pub attempts_before: u32,
    pub leases: Leases,
}

/// Changes claims that this transaction has made into claims of leased events. Like the guard, it
/// changes nothing unless the transaction has the given number and its commit will be durable.
/// Returns whether all claims were changed. If not, the transaction must not be committed.
pub(crate) async fn give(
    c: &mut PgConnection,
    transaction: &str,
    route: &RouteName,
    given: &[NewLease],
) -> Result<bool, Error> {
    let events: Vec<i64> = given.iter().map(|lease| lease.event.as_i64()).collect();
    let written: Vec<&str> = given.iter().map(|lease| lease.written.as_str()).collect();
    let made = given.iter().map(|lease| lease.attempt.saturating_sub(1));
    let made: Vec<i32> = made.map(integer).collect();
    let epochs = given.iter().map(|lease| integer(lease.leases.epoch));
    let epochs: Vec<i32> = epochs.collect();
    let done = sqlx::query(
        "update claims
         set state = 'retrying', attempts = given.attempts, epoch = given.epoch, settled_at = now()
         from unnest($3::bigint[], $4::text[], $5::int[], $6::int[])
             as given (event, written, attempts, epoch)
         where claims.event = given.event
           and claims.route = $2
           and claims.state = given.written
           and pg_current_xact_id()::text = $1
           and current_setting('synchronous_commit') in ('on', 'remote_apply')",
    )
    .bind(transaction)
    .bind(route.as_str())
    .bind(events)
    .bind(written)
    .bind(made)
    .bind(epochs)
    .execute(c)
    .await?;
    Ok(done.rows_affected() == given.len() as u64)
}

/// Makes leased events wait for their attempts until the time `length` has passed after the
/// beginning of the transaction. An attempt that was already deferred keeps the reason and the
/// start of its deferral, so that the deferral continues if the call meets the same fault again. An
/// attempt takes over the deferral with which the attempt before has expired.
pub(crate) async fn put(
    c: &mut PgConnection,
    route: &RouteName,
    target: &TargetName,
    given: &[NewLease],
    length: Duration,
) -> Result<(), Error> {
    let events: Vec<i64> = given.iter().map(|lease| lease.event.as_i64()).collect();
    let attempts: Vec<i32> = given.iter().map(|lease| integer(lease.attempt)).collect();
    let before = given.iter().map(|lease| integer(lease.attempts_before));
    let before: Vec<i32> = before.collect();
    let leases = given.iter().map(|lease| lease.leases.without_outcome);
    let leases: Vec<i32> = leases.map(integer).collect();
    sqlx::query(
        "insert into retries (route, event, attempt, attempts_before, not_before,
                              deferred_attempt, deferred_reason, deferred_since,
                              target, leased_at, leased_attempt, leases)
         select $1, given.event, given.attempt, given.attempts_before,
                now() + make_interval(secs => $7), given.attempt, $8, now(),
                $2, now(), given.attempt, given.leases
         from unnest($3::bigint[], $4::int[], $5::int[], $6::int[])
             as given (event, attempt, attempts_before, leases)
         order by given.event
         on conflict (event, route) do update
         set attempt = excluded.attempt, attempts_before = excluded.attempts_before,
             not_before = excluded.not_before, queued_at = null,
             deferred_attempt = excluded.attempt,
             deferred_reason = case
                 when retries.deferred_attempt in (excluded.attempt, excluded.attempt - 1)
                      and retries.deferred_since is not null
                 then retries.deferred_reason else excluded.deferred_reason end,
             deferred_since = case
                 when retries.deferred_attempt in (excluded.attempt, excluded.attempt - 1)
                      and retries.deferred_since is not null
                 then retries.deferred_since else excluded.deferred_since end,
             target = excluded.target, leased_at = excluded.leased_at,
             leased_attempt = excluded.leased_attempt, leases = excluded.leases",
    )
    .bind(route.as_str())
    .bind(target.as_str())
    .bind(events)
    .bind(attempts)
    .bind(before)
    .bind(leases)
    .bind(length.min(DELAY_MAX).as_secs_f64())
    .bind(DeferReason::Leased.as_str())
    .execute(c)
    .await?;
    Ok(())
}

/// Ends the leases of calls that have succeeded: sets the claims to done, and writes the ends of
/// the events. This transaction has locked the claims.
pub(crate) async fn end_done(
    c: &mut PgConnection,
    route: &RouteName,
    done: &[DoneEnd],
) -> Result<(), Error> {
    let EndColumns {
        events,
        rounds,
        attempts,
    } = EndColumns::of(done);
    sqlx::query(
        "with done as materialized (
             select * from unnest($2::bigint[], $3::int[], $4::int[])
                 as done (event, round, attempts)
         ), ended as (
             insert into ends (ended_xid, event, round, attempts, route, outcome)
             select pg_current_xact_id(), event, round, attempts, $1, 'done' from done
             order by event
         )
         update claims set state = 'done', attempts = done.attempts, settled_at = now()
         from done
         where claims.event = done.event and claims.route = $1",
    )
    .bind(route.as_str())
    .bind(events)
    .bind(rounds)
    .bind(attempts)
    .execute(c)
    .await?;
    Ok(())
}

/// Ends the leases of calls that are deferred. Each event waits for the same attempt again.
pub(crate) async fn end_deferred(
    c: &mut PgConnection,
    route: &RouteName,
    deferred: &[(EventNumber, DeferralWrite)],
) -> Result<(), Error> {
    let events: Vec<i64> = deferred.iter().map(|(event, _)| event.as_i64()).collect();
    let reasons: Vec<&str> = deferred.iter().map(|(_, it)| it.reason.as_str()).collect();
    let waits = deferred.iter().map(|(_, it)| it.after.min(DELAY_MAX));
    let waits: Vec<f64> = waits.map(|wait| wait.as_secs_f64()).collect();
    let are_continued: Vec<bool> = deferred.iter().map(|(_, it)| it.is_continued).collect();
    sqlx::query(
        "update retries
         set not_before = now() + make_interval(secs => ends.wait), queued_at = null,
             deferred_attempt = retries.attempt, deferred_reason = ends.reason,
             deferred_since = case when ends.is_continued then retries.deferred_since
                                   else now() end,
             target = null, leased_at = null, leased_attempt = null, leases = null
         from unnest($2::bigint[], $3::text[], $4::float8[], $5::bool[])
             as ends (event, reason, wait, is_continued)
         where retries.event = ends.event and retries.route = $1",
    )
    .bind(route.as_str())
    .bind(events)
    .bind(reasons)
    .bind(waits)
    .bind(are_continued)
    .execute(c)
    .await?;
    Ok(())
}
