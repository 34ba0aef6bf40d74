//! Replay, discard and restore: the state of dead letters, changed by people.

use hookbox_crash::crash_point;
use hookbox_driver::{ClaimState, DeadFilter, DeadState, Fault};
use sqlx::sqlite::SqliteConnection;

use crate::dead_letters::{self, Chosen};
use crate::diagnose::fault;
use crate::receipts::{self, Word};
use crate::retries::{self, Waiting};
use crate::writer::Writer;
use crate::{audit, claims, earlier_deaths, events, moment};

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Replay,
    Discard,
    Restore,
}

impl Turn {
    /// From which state into which.
    fn states(self) -> (DeadState, DeadState) {
        match self {
            Turn::Replay => (DeadState::Dead, DeadState::Replayed),
            Turn::Discard => (DeadState::Dead, DeadState::Discarded),
            Turn::Restore => (DeadState::Discarded, DeadState::Dead),
        }
    }

    /// The word in the audit.
    fn action(self) -> &'static str {
        match self {
            Turn::Replay => "dead.replay",
            Turn::Discard => "dead.discard",
            Turn::Restore => "dead.restore",
        }
    }
}

/// Turns up to `limit` dead letters that a filter means, each with its row in the audit.
pub(super) async fn turn(
    writer: &Writer,
    turn: Turn,
    filter: &DeadFilter,
    limit: u32,
    by: &str,
) -> Result<u64, Fault> {
    let doing = "change dead letters";
    let mut unit = writer.begin().await?;
    let turned = turn_all(unit.connection(), turn, filter, limit, by)
        .await
        .map_err(fault(doing))?;
    unit.commit().await.map_err(fault(doing))?;
    Ok(turned)
}

async fn turn_all(
    connection: &mut SqliteConnection,
    turn: Turn,
    filter: &DeadFilter,
    limit: u32,
    by: &str,
) -> sqlx::Result<u64> {
    let (from, to) = turn.states();
    let replay = turn == Turn::Replay;
    let chosen = dead_letters::choose(connection, filter, from, replay, limit).await?;
    let mut turned = 0;
    for letter in &chosen {
        if replay {
            if !make_due(connection, letter).await? {
                continue;
            }
            earlier_deaths::keep(connection, letter.id, by, moment::now()).await?;
        }
        dead_letters::turn(connection, letter.id, to).await?;
        crash_point!("ledger.mid_change");
        let subject = format!("dead letter {}", letter.id);
        audit::add(connection, by, turn.action(), &subject).await?;
        turned += 1;
    }
    Ok(turned)
}

/// A fresh round of attempts, due now. `false` when the event is not dead after all.
async fn make_due(connection: &mut SqliteConnection, letter: &Chosen) -> sqlx::Result<bool> {
    let Chosen { route, event, .. } = letter;
    let known = events::known(connection, route, [event]).await?;
    let claim = known.get(event).and_then(|known| known.claim);
    let Some((ClaimState::Dead, attempts)) = claim else {
        return Ok(false);
    };
    let now = moment::now();
    claims::put(
        connection,
        route,
        event,
        ClaimState::Retrying,
        attempts,
        now,
    )
    .await?;
    receipts::follow(connection, route, event, Word::Retrying, now).await?;
    let waiting = Waiting {
        route,
        event,
        attempt: attempts + 1,
        attempts_before: attempts,
        not_before: now,
    };
    retries::put(connection, &waiting).await?;
    Ok(true)
}
