//! Reads one event with its whole history. All rows are from the same snapshot of the tables.

use hookbox_driver::{DeadLetter, EventDetail};
use hookbox_event::EventId;
use sqlx::{Error, PgConnection};

use crate::{attempts, claims, dead_letters, earlier_deaths, events, receipts, retries};

/// Returns the event whose id begins with the given prefix, or `None` if no event or more than one
/// does.
pub(crate) async fn by_prefix(
    c: &mut PgConnection,
    prefix: &str,
) -> Result<Option<EventDetail>, Error> {
    let Some((first, last)) = range(prefix) else {
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
        claims: claims::of_event(c, event).await?,
        receipts: receipts::of_event(c, event).await?,
        attempts: attempts::of_event(c, event).await?,
        retries: retries::of_event(c, event).await?,
    }))
}

/// Returns the lowest and the highest event id with this prefix; `None` when the prefix is not a
/// valid start of an id.
fn range(prefix: &str) -> Option<([u8; 32], [u8; 32])> {
    if prefix.is_empty() || prefix.len() > 64 {
        return None;
    }
    let bound = |fill: char| {
        let padded: String = prefix
            .chars()
            .chain(std::iter::repeat(fill))
            .take(64)
            .collect();
        let mut bytes = [0; 32];
        hex::decode_to_slice(padded, &mut bytes).ok()?;
        Some(bytes)
    };
    Some((bound('0')?, bound('f')?))
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn a_prefix_is_a_range() {
        let (first, last) = range("aB3").expect("hex");
        assert_eq!((first[0], first[1], first[31]), (0xab, 0x30, 0x00));
        assert_eq!((last[0], last[1], last[31]), (0xab, 0x3f, 0xff));
        let whole = "0123456789abcdef".repeat(4);
        let (first, last) = range(&whole).expect("hex");
        assert_eq!(first, last);
    }

    #[test]
    fn what_is_not_hex_is_no_prefix() {
        for prefix in ["", "xy", "0g", "ä", "%", &"0".repeat(65)] {
            assert_eq!(range(prefix), None, "{prefix:?}");
        }
    }
}
