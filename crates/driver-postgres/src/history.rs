//! Reads one event with its whole history. The transaction must be one of
//! [`crate::Postgres::read`], so that all queries see the same snapshot.

use hookbox_driver::{DeadLetter, EventDetail};
use hookbox_event::EventId;
use sqlx::{Error, PgConnection};

use crate::{attempts, claims, dead_letters, earlier_deaths, events, receipts, retries};

/// Returns the event whose id begins with this prefix, with its history; `None` when no event has
/// this prefix, or when more than one has it.
pub(crate) async fn by_prefix(
    c: &mut PgConnection,
    prefix: &str,
) -> Result<Option<EventDetail>, Error> {
    let Some((first, last)) = EventId::range_of_prefix(prefix) else {
        return Ok(None);
    };
    match events::between(c, &first, &last).await?.as_slice() {
        [event] => of(c, event).await,
        _ => Ok(None),
    }
}

/// Returns one dead letter and the history of its event.
pub(crate) async fn dead_letter(
    c: &mut PgConnection,
    id: i64,
) -> Result<Option<DeadLetter>, Error> {
    let Some(row) = dead_letters::one(c, id).await? else {
        return Ok(None);
    };
    let Some(history) = of(c, &row.event).await? else {
        return Ok(None);
    };
    let earlier = earlier_deaths::of(c, id).await?;
    Ok(Some(DeadLetter {
        row,
        earlier,
        history,
    }))
}

async fn of(c: &mut PgConnection, event: &EventId) -> Result<Option<EventDetail>, Error> {
    let Some(kept) = events::one(c, event).await? else {
        return Ok(None);
    };
    Ok(Some(EventDetail {
        event: *event,
        topic: kept.topic,
        digest: kept.digest,
        body_bytes: kept.body.len() as u64,
        body: kept.body.into(),
        seal: kept.seal,
        received_at: kept.received_at,
        claims: claims::of_event(c, kept.number).await?,
        receipts: receipts::of_event(c, kept.number).await?,
        attempts: attempts::of_event(c, kept.number).await?,
        retries: retries::of_event(c, kept.number).await?,
    }))
}
