//! Replay, discard and restore: changes that operators make to the state of dead letters. Each is
//! one transaction together with its audit rows.

use hookbox_crash::crash_point;
use hookbox_driver::{DeadChange, DeadFilter};
use sqlx::{Error, PgConnection};

use crate::{audit, claims, dead_letters, earlier_deaths, ends, receipts, retries};

/// Replays, discards or restores up to `limit` dead letters that match the filter, and writes a row
/// of the audit log for each. Returns their number.
pub(crate) async fn change(
    c: &mut PgConnection,
    change: DeadChange,
    filter: &DeadFilter,
    limit: u32,
    by: &str,
) -> Result<u64, Error> {
    let chosen = dead_letters::choose(c, filter, change, limit).await?;
    if chosen.ids.is_empty() {
        return Ok(0);
    }
    dead_letters::change_state(c, &chosen.ids, change.to()).await?;
    if change == DeadChange::Replay {
        earlier_deaths::insert(c, &chosen.ids, by).await?;
        claims::revive(c, &chosen.routes, &chosen.events).await?;
        receipts::revive(c, &chosen.routes, &chosen.events).await?;
        retries::put_replayed(c, &chosen.routes, &chosen.events).await?;
    }
    if let Some(outcome) = change.ends_as() {
        ends::insert_changed(c, &chosen.ids, outcome).await?;
    }
    crash_point!("ledger.mid_change");
    audit::insert_dead(c, by, change.action(), &chosen.ids).await?;
    Ok(chosen.ids.len() as u64)
}
