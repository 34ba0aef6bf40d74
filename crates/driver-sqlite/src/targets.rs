//! The table `targets`: what all workers know of the targets of external calls.

use hookbox_driver::{TargetError, TargetName, TargetRow, TargetState, storable};
use hookbox_event::{EventNumber, Timestamp};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::column::Columns;
use crate::moment;
use crate::retries::is_leased;

/// Returns what is known of a target. In a transaction that writes, no other process can change it
/// until the transaction ends.
pub(crate) async fn read(
    connection: &mut SqliteConnection,
    target: &TargetName,
) -> sqlx::Result<TargetState> {
    let row = sqlx::query(
        "select faults, last_fault, openings, open_until, wait_until, rate_until
         from targets where name = ?1",
    )
    .bind(target.as_str())
    .fetch_optional(connection)
    .await?;
    row.as_ref()
        .map_or_else(|| Ok(TargetState::default()), state)
}

/// Writes what is known of a target.
pub(crate) async fn put(
    connection: &mut SqliteConnection,
    target: &TargetName,
    state: &TargetState,
) -> sqlx::Result<()> {
    sqlx::query(
        "insert into targets
         (name, faults, last_fault, openings, open_until, wait_until, rate_until)
         values (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         on conflict (name) do update
         set faults = excluded.faults, last_fault = excluded.last_fault,
             openings = excluded.openings, open_until = excluded.open_until,
             wait_until = excluded.wait_until, rate_until = excluded.rate_until",
    )
    .bind(target.as_str())
    .bind(state.faults)
    .bind(state.last_fault.map(EventNumber::as_i64))
    .bind(state.openings)
    .bind(state.open_until.map(Timestamp::unix_micros))
    .bind(state.wait_until.map(Timestamp::unix_micros))
    .bind(state.rate_until.map(Timestamp::unix_micros))
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes the newest error of a target: why a call did not reach it, or how it asked for a pause.
/// The target must have a row.
pub(crate) async fn put_error(
    connection: &mut SqliteConnection,
    target: &TargetName,
    error: &str,
    now: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query("update targets set last_error = ?2, last_error_at = ?3 where name = ?1")
        .bind(target.as_str())
        .bind(storable(error))
        .bind(now.unix_micros())
        .execute(connection)
        .await?;
    Ok(())
}

/// The statement of [`list`].
pub(crate) const LIST: &str = concat!(
    "select t.*, (select count(*) from retries
                  where target = t.name and not_before > ?1 and ",
    is_leased!(),
    ") as in_flight
     from targets as t order by t.name"
);

/// Returns all targets in the order of their names, with the calls that are in flight to each.
pub(crate) async fn list(connection: &mut SqliteConnection) -> sqlx::Result<Vec<TargetRow>> {
    let now = moment::now();
    let rows = sqlx::query(LIST).bind(now).fetch_all(connection).await?;
    let now = Timestamp::from_unix_micros(now);
    rows.iter()
        .map(|row| {
            let target: TargetName = row.parsed("name")?;
            let in_flight = row.count("in_flight")?;
            Ok(state(row)?.row(target, now, in_flight, last_error(row)?))
        })
        .collect()
}

fn last_error(row: &SqliteRow) -> sqlx::Result<Option<TargetError>> {
    let error = row.text_or_none("last_error")?;
    let at = row.moment_or_none("last_error_at")?;
    Ok(error.zip(at).map(|(error, at)| TargetError { error, at }))
}

fn state(row: &SqliteRow) -> sqlx::Result<TargetState> {
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
