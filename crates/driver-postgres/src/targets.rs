//! The table `targets`: what all workers know of the targets of external calls.

use hookbox_driver::{TargetError, TargetName, TargetRow, TargetState};
use hookbox_event::{EventNumber, Timestamp};
use sqlx::postgres::PgRow;
use sqlx::{Error, PgConnection, Row};

use crate::column::{Columns, integer, moment, text};
use crate::retries::is_leased;

/// Locks the row of a target until the transaction ends, and returns what is known of the target.
/// Creates the row if there is none. Every transaction locks this row last, so that two
/// transactions with the same target cannot deadlock.
pub(crate) async fn lock(c: &mut PgConnection, target: &TargetName) -> Result<TargetState, Error> {
    if let Some(state) = lock_row(c, target).await? {
        return Ok(state);
    }
    sqlx::query("insert into targets (name) values ($1) on conflict do nothing")
        .bind(target.as_str())
        .execute(&mut *c)
        .await?;
    lock_row(c, target).await?.ok_or(Error::RowNotFound)
}

async fn lock_row(c: &mut PgConnection, target: &TargetName) -> Result<Option<TargetState>, Error> {
    let row = sqlx::query(
        "select faults, last_fault, openings, open_until, wait_until, rate_until
         from targets where name = $1
         for update",
    )
    .bind(target.as_str())
    .fetch_optional(c)
    .await?;
    row.as_ref().map(state).transpose()
}

/// Returns what is known of a target, without waiting for a transaction that holds its row, and the
/// present time by the server's clock.
pub(crate) async fn read(
    c: &mut PgConnection,
    target: &TargetName,
) -> Result<(TargetState, Timestamp), Error> {
    let row = sqlx::query(
        "select clock_timestamp() as now, t.name is not null as is_known,
                t.faults, t.last_fault, t.openings, t.open_until, t.wait_until, t.rate_until
         from (select 1) as one left join targets t on t.name = $1",
    )
    .bind(target.as_str())
    .fetch_one(c)
    .await?;
    let found = if row.try_get("is_known")? {
        state(&row)?
    } else {
        TargetState::default()
    };
    Ok((found, row.moment("now")?))
}

/// Writes what is known of a target whose row this transaction has locked.
pub(crate) async fn put(
    c: &mut PgConnection,
    target: &TargetName,
    state: &TargetState,
) -> Result<(), Error> {
    sqlx::query(
        "update targets
         set faults = $2, last_fault = $3, openings = $4, open_until = $5, wait_until = $6,
             rate_until = $7
         where name = $1",
    )
    .bind(target.as_str())
    .bind(integer(state.faults))
    .bind(state.last_fault.map(EventNumber::as_i64))
    .bind(integer(state.openings))
    .bind(state.open_until.map(moment))
    .bind(state.wait_until.map(moment))
    .bind(state.rate_until.map(moment))
    .execute(c)
    .await?;
    Ok(())
}

/// Writes the newest error of a target: why a call did not reach it, or how it asked for a pause.
/// This transaction has locked the row of the target.
pub(crate) async fn put_error(
    c: &mut PgConnection,
    target: &TargetName,
    error: &str,
    now: Timestamp,
) -> Result<(), Error> {
    sqlx::query("update targets set last_error = $2, last_error_at = $3 where name = $1")
        .bind(target.as_str())
        .bind(text(error))
        .bind(moment(now))
        .execute(c)
        .await?;
    Ok(())
}

/// Returns all targets in the order of their names, with the calls that are in flight to each.
pub(crate) async fn list(c: &mut PgConnection) -> Result<Vec<TargetRow>, Error> {
    let rows = sqlx::query(concat!(
        "select clock_timestamp() as now, t.*,
                (select count(*) from retries
                 where target = t.name and not_before > now() and ",
        is_leased!(),
        ") as in_flight
         from targets t order by t.name collate \"C\"",
    ))
    .fetch_all(c)
    .await?;
    rows.iter()
        .map(|row| {
            let target: TargetName = row.word("name", str::parse)?;
            let (now, in_flight) = (row.moment("now")?, row.count("in_flight")?);
            Ok(state(row)?.row(target, now, in_flight, last_error(row)?))
        })
        .collect()
}

fn last_error(row: &PgRow) -> Result<Option<TargetError>, Error> {
    let error: Option<String> = row.try_get("last_error")?;
    let at = row.moment_or_none("last_error_at")?;
    Ok(error.zip(at).map(|(error, at)| TargetError { error, at }))
}

fn state(row: &PgRow) -> Result<TargetState, Error> {
    let last_fault: Option<i64> = row.try_get("last_fault")?;
    Ok(TargetState {
        faults: row.attempt("faults")?,
        last_fault: last_fault.map(EventNumber::from_i64),
        openings: row.attempt("openings")?,
        open_until: row.moment_or_none("open_until")?,
        wait_until: row.moment_or_none("wait_until")?,
        rate_until: row.moment_or_none("rate_until")?,
    })
}
