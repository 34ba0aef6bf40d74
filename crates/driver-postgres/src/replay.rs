//! What operators do to dead letters: replay, discard, restore. Each is one transaction together
//! with its rows in the audit.

use hookbox_crash::crash_point;
use hookbox_driver::{DeadFilter, DeadState};
use sqlx::{Error, PgConnection};

use crate::{audit, claims, dead_letters, earlier_deaths, receipts, retries};

/// What an operator does to dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Make them due at once, with a fresh round of attempts.
    Replay,
    /// Decide that they are not to be replayed.
    Discard,
    /// Revert that.
    Restore,
}

impl Change {
    /// The action in the audit.
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

/// Applies the change to what matches the filter, at most `limit` of them. Returns how many.
pub(crate) async fn change(
    c: &mut PgConnection,
    change: Change,
    filter: &DeadFilter,
    limit: u32,
    by: &str,
) -> Result<u64, Error> {
    // Nothing could read undecodable bytes the second time, either.
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
