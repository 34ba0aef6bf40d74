//! `events list` and `events show`: events and their state on each route.

use hookbox_driver::{EventCursor, EventDetail, EventFilter, Ledger};
use hookbox_event::{EventId, ReceiptId};
use serde::Serialize;

use super::history::{Body, History};
use super::page;
use crate::{CommandError, Source};

/// The fewest digits of an event id by which an event is looked up. With four hex digits there are
/// 65,536 different prefixes. With fewer digits, a prefix that matches one event today would soon
/// match others as well.
const PREFIX_DIGITS_MIN: usize = 4;

/// Events, newest first.
#[derive(Debug, Clone, Serialize)]
pub struct EventsReport {
    /// Where the rows come from (broker or store): always the store.
    pub source: Source,
    /// One row for each event and route.
    pub events: Vec<EventLine>,
    /// Whether another page follows, because the filter matches more rows than `--limit` allows.
    pub more: bool,
    /// The cursor of the next page, which is the value of `--after`; null on the last page.
    pub next: Option<String>,
}

/// The state of one event on one route.
#[derive(Debug, Clone, Serialize)]
pub struct EventLine {
    /// The event id, 32 hex digits.
    pub event: String,
    /// The topic of the event.
    pub topic: String,
    /// The route on which the event has this state.
    pub route: String,
    /// The state on the route: running, done, retrying, dead or stale.
    pub state: &'static str,
    /// How many attempts were made on the event on this route.
    pub attempts: u32,
    /// When the first receipt of the event arrived.
    pub received_at: String,
    /// When the last outcome of the event on this route was recorded; null if it has none yet.
    pub settled_at: Option<String>,
}

/// One event with its history, as `events show` reports it.
#[derive(Debug, Clone, Serialize)]
pub struct EventReport {
    /// Where the event comes from (broker or store): always the store.
    pub source: Source,
    /// The receipt id that was given to look up the event; null if an event id was given.
    pub receipt: Option<String>,
    /// The event with its whole history.
    #[serde(flatten)]
    pub history: History,
}

/// Lists the events that come after the cursor `after`, newest first.
pub async fn list(
    ledger: &dyn Ledger,
    filter: &EventFilter,
    after: Option<&EventCursor>,
    limit: u32,
) -> Result<EventsReport, CommandError> {
    let mut rows = ledger
        .events(filter, after, page::wanted(limit))
        .await
        .map_err(CommandError::store("list the events"))?;
    let next = page::cut(&mut rows, limit).map(|last| EventCursor {
        at: last.received_at,
        event: last.event,
        route: last.route.clone(),
    });
    let line = |row: &hookbox_driver::EventRow| EventLine {
        event: row.event.to_string(),
        topic: row.topic.to_string(),
        route: row.route.to_string(),
        state: row.state.as_str(),
        attempts: row.attempts,
        received_at: row.received_at.to_string(),
        settled_at: row.settled_at.map(|at| at.to_string()),
    };
    Ok(EventsReport {
        source: Source::Store,
        events: rows.iter().map(line).collect(),
        more: next.is_some(),
        next: next.map(|next| next.to_string()),
    })
}

/// Shows one event. It is found by the beginning of its id, or by the whole id of one of its
/// receipts; a receipt id contains hyphens. If `reveal` is given, the report includes the body;
/// `reveal` is the name of the operator. In this case a row is first written to the audit, and if
/// that fails, the body is not shown.
pub async fn show(
    ledger: &dyn Ledger,
    id: &str,
    reveal: Option<&str>,
) -> Result<EventReport, CommandError> {
    let receipt = Some(id).filter(|id| id.contains('-'));
    let receipt: Option<ReceiptId> = receipt.and_then(|id| id.parse().ok());
    let detail = match &receipt {
        Some(receipt) => one(ledger, &event_of(ledger, receipt).await?.to_string()).await?,
        None => one(ledger, id).await?,
    };
    let mut history = History::of(&detail);
    if let Some(by) = reveal {
        ledger
            .audit(by, "event.body", &format!("event {}", detail.event))
            .await
            .map_err(CommandError::store(
                "record in the audit that the body is shown",
            ))?;
        history.body = Some(Body::of(&detail.body));
    }
    Ok(EventReport {
        source: Source::Store,
        receipt: receipt.map(|receipt| receipt.to_string()),
        history,
    })
}

/// Returns the event whose id starts with the given digits. Returns an error if no event has such
/// an id, or if several events have.
pub(super) async fn one(ledger: &dyn Ledger, id: &str) -> Result<EventDetail, CommandError> {
    let prefix = prefix(id)?;
    ledger
        .event(&prefix)
        .await
        .map_err(CommandError::store(format!("look up event {prefix}")))?
        .ok_or(CommandError::NoSingleEvent { prefix })
}

/// Returns the event of a receipt.
async fn event_of(ledger: &dyn Ledger, receipt: &ReceiptId) -> Result<EventId, CommandError> {
    let found = ledger.event_of(receipt).await;
    found
        .map_err(CommandError::store(format!("look up receipt {receipt}")))?
        .ok_or(CommandError::NoOutcome { receipt: *receipt })
}

/// Checks that the text can be the beginning of an event id, and returns it in lower case. Earlier
/// versions of hookbox wrote ids with 64 digits, so up to 64 digits are accepted; the first 32 of
/// them are the id.
fn prefix(prefix: &str) -> Result<String, CommandError> {
    let hex = prefix.chars().all(|digit| digit.is_ascii_hexdigit());
    if !hex || !(PREFIX_DIGITS_MIN..=EventId::EARLIER_DIGITS).contains(&prefix.len()) {
        return Err(CommandError::NotAPrefix {
            prefix: prefix.chars().take(EventId::EARLIER_DIGITS).collect(),
        });
    }
    let prefix = &prefix[..prefix.len().min(EventId::DIGITS)];
    Ok(prefix.to_ascii_lowercase())
}
