//! Reads one event with its whole history. The caller must have opened a transaction, so that all
//! queries see the same snapshot.

use hookbox_driver::{DeadLetter, EventDetail};
use hookbox_event::EventId;
use sqlx::sqlite::SqliteConnection;

use crate::{attempts, claims, dead_letters, earlier_deaths, events, receipts, retries};

/// Returns the event whose id begins with this prefix, with its history; `None` when no event has
/// this prefix, or when more than one has it.
pub(crate) async fn by_prefix(
    connection: &mut SqliteConnection,
    prefix: &str,
) -> sqlx::Result<Option<EventDetail>> {
    match events::by_prefix(connection, prefix).await?.as_slice() {
        [event] => of(connection, event).await,
        _ => Ok(None),
    }
}

/// Returns one dead letter and the history of its event.
pub(crate) async fn dead_letter(
    connection: &mut SqliteConnection,
    id: i64,
) -> sqlx::Result<Option<DeadLetter>> {
    let Some(row) = dead_letters::one(connection, id).await? else {
        return Ok(None);
    };
    let Some(history) = of(connection, &row.event).await? else {
        return Ok(None);
    };
    let earlier = earlier_deaths::of(connection, id).await?;
    Ok(Some(DeadLetter {
        row,
        earlier,
        history,
    }))
}

async fn of(
    connection: &mut SqliteConnection,
    event: &EventId,
) -> sqlx::Result<Option<EventDetail>> {
    let Some((event, mut detail)) = events::one(connection, event).await? else {
        return Ok(None);
    };
    detail.claims = claims::of_event(connection, event).await?;
    detail.receipts = receipts::of_event(connection, event).await?;
    detail.attempts = attempts::of_event(connection, event).await?;
    detail.retries = retries::of_event(connection, event).await?;
    Ok(Some(detail))
}
