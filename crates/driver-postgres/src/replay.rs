//! Replay, discard and restore: changes that operators make to the state of dead letters. Each is
//! one transaction together with its audit rows.

use hookbox_crash::crash_point;
use hookbox_driver::{DeadFilter, DeadState};
use sqlx::{Error, PgConnection};

use crate::{audit, claims, dead_letters, earlier_deaths, receipts, retries};

/// A change that an operator makes to the state of dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Makes dead letters due at once, in a new round, so that the retry policy counts from the
    /// start.
    Replay,
    /// Marks dead letters as not to be replayed. Nothing is deleted.
    Discard,
    /// Reverts a discard.
    Restore,
}

impl Change {
    /// Returns the name under which the audit records this change.
    fn action(self) -> &'static str {
        match self {
            Change::Replay => "dead.replay",
            Change::Discard => "dead.discard",
            Change::Restore => "dead.restore",
        }
    }

    fn from(self) -> DeadState {
        match self {
            Change::Replay | Change::Discard => DeadState::Dead,
            Change::Restore => DeadState::Discarded,
        }
    }

    fn to(self) -> DeadState {
        match self {
            Change::Replay => DeadState::Replayed,
            Change::Discard => DeadState::Discarded,
            Change::Restore => DeadState::Dead,
        }
    }
}

/// Changes up to `limit` dead letters that match the filter, and returns how many it changed.
pub(crate) async fn change(
    c: &mut PgConnection,
    change: Change,
    filter: &DeadFilter,
    limit: u32,
    by: &str,
) -> Result<u64, Error> {
    // Undecodable bytes are not replayed: a second run could not decode them either.
    let undecodable_too = change != Change::Replay;
    let chosen = dead_letters::choose(c, filter, change.from(), undecodable_too, limit).await?;
    if chosen.ids.is_empty() {
        return Ok(0);
    }
    dead_letters::set_state(c, &chosen.ids, change.to()).await?;
    if change == Change::Replay {
        earlier_deaths::insert(c, &chosen.ids, by).await?;
        claims::revive(c, &chosen.routes, &chosen.events).await?;
        receipts::revive(c, &chosen.routes, &chosen.events).await?;
        retries::put_replayed(c, &chosen.routes, &chosen.events).await?;
    }
    crash_point!("ledger.mid_change");
    audit::insert_dead(c, by, change.action(), &chosen.ids).await?;
    Ok(chosen.ids.len() as u64)
}
