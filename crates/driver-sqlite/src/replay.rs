//! Replay, discard and restore: changes that operators make to the state of dead letters.

use hookbox_crash::crash_point;
use hookbox_driver::{ClaimState, DeadChange, DeadFilter, Fault, StoredOutcome};
use sqlx::sqlite::SqliteConnection;

use crate::dead_letters::{self, ChosenDeadLetter};
use crate::diagnose::fault;
use crate::file::writer::Writer;
use crate::retries::{self, NewRetry};
use crate::{audit, claims, earlier_deaths, events, moment, receipts};

/// Changes up to `limit` dead letters that match a filter, and writes a row of the audit log for
/// each. Returns how many were changed.
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
    let replay = change == DeadChange::Replay;
    let chosen = dead_letters::choose(connection, filter, change, limit).await?;
    let mut changed = 0;
    for dead_letter in &chosen {
        if replay {
            if !make_due(connection, dead_letter).await? {
                continue;
            }
            earlier_deaths::insert(connection, dead_letter.id, by, moment::now()).await?;
        }
        dead_letters::change_state(connection, dead_letter.id, change.to()).await?;
        crash_point!("ledger.mid_change");
        let subject = format!("dead letter {}", dead_letter.id);
        audit::insert(connection, by, change.action(), &subject).await?;
        changed += 1;
    }
    Ok(changed)
}

/// Makes the event of a dead letter due now, with the retry policy counting its attempts anew.
/// Returns `false` when the event is no longer dead.
async fn make_due(
    connection: &mut SqliteConnection,
    dead_letter: &ChosenDeadLetter,
) -> sqlx::Result<bool> {
    let ChosenDeadLetter { route, event, .. } = dead_letter;
    let known = events::known(connection, route, [event]).await?;
    let Some(known) = known.get(event) else {
        return Ok(false);
    };
    let Some((ClaimState::Dead, attempts)) = known.claim else {
        return Ok(false);
    };
    let event = known.number;
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
    receipts::update_outcome(connection, route, event, StoredOutcome::Retrying, now).await?;
    let waiting = NewRetry {
        route,
        event,
        attempt: attempts + 1,
        attempts_before: attempts,
        not_before: now,
    };
    retries::put(connection, &waiting).await?;
    Ok(true)
}
