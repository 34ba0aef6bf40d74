//! Replay, discard and restore: changes that operators make to the state of dead letters. Each is
//! one transaction together with its audit rows.

use hookbox_crash::crash_point;
use hookbox_driver::{DeadChange, DeadFilter, Fault};
use sqlx::sqlite::SqliteConnection;

use crate::diagnose::fault;
use crate::file::writer::Writer;
use crate::{audit, claims, dead_letters, earlier_deaths, ends, moment, receipts, retries};

/// Replays, discards or restores up to `limit` dead letters that match the filter, and writes a row
/// of the audit log for each. Returns their number.
pub(crate) async fn change(
    writer: &Writer,
    change: DeadChange,
    filter: &DeadFilter,
    limit: u32,
    by: &str,
) -> Result<u64, Fault> {
    let doing = "change dead letters";
    let mut unit = writer.begin_to_operate().await?;
    let changed = change_all(unit.connection(), change, filter, limit, by)
        .await
        .map_err(fault(doing))?;
    unit.commit().await.map_err(fault(doing))?;
    Ok(changed)
}

async fn change_all(
    connection: &mut SqliteConnection,
    change: DeadChange,
    filter: &DeadFilter,
    limit: u32,
    by: &str,
) -> sqlx::Result<u64> {
    let chosen = dead_letters::choose(connection, filter, change, limit).await?;
    if chosen.is_empty() {
        return Ok(0);
    }
    let now = moment::now();
    dead_letters::change_state(connection, &chosen, change.to()).await?;
    if change == DeadChange::Replay {
        earlier_deaths::insert(connection, &chosen, by, now).await?;
        claims::revive(connection, &chosen, now).await?;
        receipts::revive(connection, &chosen, now).await?;
        retries::put_replayed(connection, &chosen, now).await?;
    }
    if let Some(outcome) = change.ends_as() {
        ends::insert_changed(connection, &chosen, outcome, now).await?;
    }
    crash_point!("ledger.mid_change");
    audit::insert_dead(connection, by, change.action(), &chosen).await?;
    Ok(chosen.len() as u64)
}
