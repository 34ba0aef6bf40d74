//! The leases of external calls. They are stored in columns of the tables `claims` and `retries`.

use std::time::Duration;

use hookbox_driver::{ClaimState, DeferReason, DeferralWrite, Leases, TargetName, WaitingAttempt};
use hookbox_event::{EventNumber, RouteName};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::column::{Columns, json_list, numbers};
use crate::moment;
use crate::retries::{is_leased, reason_and_age};

/// What the store knows about an event that waits for an attempt.
pub(crate) struct StoredLease {
    pub(crate) event: EventNumber,
    pub(crate) waiting: WaitingAttempt,
    pub(crate) leases: Leases,
    /// Why the attempt is deferred, and for how long it has been deferred.
    pub(crate) deferred: Option<(DeferReason, Duration)>,
}

/// The statement of [`stored`].
pub(crate) const STORED: &str = "select w.event, w.attempt, w.attempts_before,
            coalesce(c.epoch, 0) as epoch,
            coalesce(case when w.leased_attempt = w.attempt then w.leases end, 0) as leases,
            case when w.attempts_before > 0 then coalesce((
                select max(a.attempt) from attempts as a
                where a.route = w.route and a.event = w.event and a.outcome = 'done'), 0)
            else 0 end as last_done,
            case when w.deferred_attempt = w.attempt then w.deferred_reason end as reason,
            w.deferred_since,
            coalesce(w.deferred_attempt = w.attempt, 0)
                and w.queued_at is null and w.not_before > ?3 as is_put_off
     from json_each(?2) as wanted
     cross join retries as w on w.event = wanted.value and w.route = ?1
     cross join claims as c on c.event = w.event and c.route = w.route";

/// Returns the waiting attempts of these events.
pub(crate) async fn stored(
    connection: &mut SqliteConnection,
    route: &RouteName,
    events: &[EventNumber],
    now: i64,
) -> sqlx::Result<Vec<StoredLease>> {
    let rows = sqlx::query(STORED)
        .bind(route.as_str())
        .bind(numbers(events))
        .bind(now)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| stored_lease(row, now)).collect()
}

fn stored_lease(row: &SqliteRow, now: i64) -> sqlx::Result<StoredLease> {
    Ok(StoredLease {
        event: row.event_number("event")?,
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
        deferred: reason_and_age(row, now)?,
    })
}

/// The statement of [`in_flight`].
pub(crate) const IN_FLIGHT: &str = concat!(
    "select count(*) as in_flight from retries
     where target = ?1 and not_before > ?2 and ",
    is_leased!()
);

/// Returns how many leases of a target have not ended.
pub(crate) async fn in_flight(
    connection: &mut SqliteConnection,
    target: &TargetName,
    now: i64,
) -> sqlx::Result<u32> {
    let row = sqlx::query(IN_FLIGHT)
        .bind(target.as_str())
        .bind(now)
        .fetch_one(connection)
        .await?;
    row.attempt("in_flight")
}

/// A lease to be written.
pub(crate) struct NewLease {
    pub(crate) event: EventNumber,
    /// The state in which this transaction has written the claim.
    pub(crate) written: ClaimState,
    pub(crate) attempt: u32,
    pub(crate) attempts_before: u32,
    pub(crate) leases: Leases,
}

/// The statement of [`give`]. It joins the list of leases, so that SQLite looks up each claim by
/// its primary key.
pub(crate) const GIVE: &str = "with given as (
         select value ->> 0 as event, value ->> 1 as written, value ->> 2 as attempts,
                value ->> 3 as epoch
         from json_each(?2))
     update claims
     set state = 'retrying', attempts = given.attempts, epoch = given.epoch, settled_at = ?3
     from given
     where claims.event = given.event and claims.route = ?1 and claims.state = given.written";

/// Changes claims that this transaction has made into claims of leased events. Returns whether all
/// claims were changed. If not, the transaction must not be committed.
pub(crate) async fn give(
    connection: &mut SqliteConnection,
    route: &RouteName,
    given: &[NewLease],
    now: i64,
) -> sqlx::Result<bool> {
    let list = given.iter().map(|lease| {
        let (event, written) = (lease.event.as_i64(), lease.written.as_str());
        let made = lease.attempt.saturating_sub(1);
        format!("[{event},\"{written}\",{made},{}]", lease.leases.epoch)
    });
    let done = sqlx::query(GIVE)
        .bind(route.as_str())
        .bind(json_list(list))
        .bind(now)
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == given.len() as u64)
}

/// Makes leased events wait for their attempts until `not_before`. An attempt that was already
/// deferred keeps the reason and the start of its deferral, so that the deferral continues if the
/// call meets the same fault again. An attempt takes over the deferral with which the attempt
/// before has expired.
pub(crate) async fn put(
    connection: &mut SqliteConnection,
    route: &RouteName,
    target: &TargetName,
    given: &[NewLease],
    (not_before, now): (i64, i64),
) -> sqlx::Result<()> {
    let list = given.iter().map(|lease| {
        let (event, attempt) = (lease.event.as_i64(), lease.attempt);
        let (before, leases) = (lease.attempts_before, lease.leases.without_outcome);
        format!("[{event},{attempt},{before},{leases}]")
    });
    sqlx::query(
        "insert into retries (route, event, attempt, attempts_before, not_before, queued_at,
                              deferred_attempt, deferred_reason, deferred_since,
                              target, leased_at, leased_attempt, leases)
         select ?1, value ->> 0, value ->> 1, value ->> 2, ?4, null, value ->> 1, ?6, ?5,
                ?2, ?5, value ->> 1, value ->> 3
         from json_each(?3)
         where true
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
    .bind(json_list(list))
    .bind(not_before)
    .bind(now)
    .bind(DeferReason::Leased.as_str())
    .execute(connection)
    .await?;
    Ok(())
}

/// The statement of [`end_done`].
pub(crate) const END_DONE: &str = "with done as (
         select value ->> 0 as event, value ->> 1 as attempts from json_each(?2))
     update claims set state = 'done', attempts = done.attempts, settled_at = ?3
     from done
     where claims.event = done.event and claims.route = ?1";

/// Ends the leases of calls that have succeeded: sets the claims to done.
pub(crate) async fn end_done(
    connection: &mut SqliteConnection,
    route: &RouteName,
    done: &[(EventNumber, u32, Duration)],
    now: i64,
) -> sqlx::Result<()> {
    let list = done.iter().map(|(event, attempt, _)| {
        let event = event.as_i64();
        format!("[{event},{attempt}]")
    });
    sqlx::query(END_DONE)
        .bind(route.as_str())
        .bind(json_list(list))
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}

/// The statement of [`end_deferred`].
pub(crate) const END_DEFERRED: &str = "with ends as (
         select value ->> 0 as event, value ->> 1 as reason, value ->> 2 as not_before,
                value ->> 3 as is_continued
         from json_each(?2))
     update retries
     set not_before = ends.not_before, queued_at = null,
         deferred_attempt = retries.attempt, deferred_reason = ends.reason,
         deferred_since = case when ends.is_continued then retries.deferred_since
                               else ?3 end,
         target = null, leased_at = null, leased_attempt = null, leases = null
     from ends
     where retries.event = ends.event and retries.route = ?1";

/// Ends the leases of calls that are deferred. Each event waits for the same attempt again.
pub(crate) async fn end_deferred(
    connection: &mut SqliteConnection,
    route: &RouteName,
    deferred: &[(EventNumber, DeferralWrite)],
    now: i64,
) -> sqlx::Result<()> {
    let list = deferred.iter().map(|(event, written)| {
        let (event, reason) = (event.as_i64(), written.reason.as_str());
        let not_before = moment::in_(written.after);
        format!(
            "[{event},\"{reason}\",{not_before},{}]",
            written.is_continued
        )
    });
    sqlx::query(END_DEFERRED)
        .bind(route.as_str())
        .bind(json_list(list))
        .bind(now)
        .execute(connection)
        .await?;
    Ok(())
}
