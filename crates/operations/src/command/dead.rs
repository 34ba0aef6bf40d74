//! `dead …`: the commands for dead letters. This file lists and shows dead letters; the files in
//! the folder `dead` change and export them.

mod change;
mod export;
mod group;
mod outcome;

use hookbox_driver::{DeadFilter, DeadRow, EarlierDeath, Ledger};
use serde::Serialize;

pub use change::{ChangeReport, ChangeRequest, change};
pub use export::{ExportReport, export};
pub use group::{Group, GroupsReport, groups, regroup};
pub use outcome::ReplayOutcome;

use super::history::{Body, History};
use super::page;
use crate::{CommandError, Source};
use group::regroup_for;

/// How many ids a question to the operator lists at most: as many as an operator reads before
/// answering.
const IDS_NAMED_MAX: usize = 10;

/// Dead letters in the order of their ids.
#[derive(Debug, Clone, Serialize)]
pub struct DeadReport {
    /// Where the rows come from (broker or store): always the store.
    pub source: Source,
    /// How many dead letters match the filter, on all pages together; null if the total was not
    /// requested.
    pub total: Option<u64>,
    /// The dead letters of this page.
    pub dead: Vec<DeadLine>,
    /// The cursor of the next page, which is the value of `--after`; null on the last page.
    pub next: Option<i64>,
}

/// One dead letter in a list.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLine {
    /// The number that identifies the dead letter.
    pub id: i64,
    /// The route that gave up on the event.
    pub route: String,
    /// The topic of the event.
    pub topic: String,
    /// The state: dead, replayed or discarded.
    pub state: &'static str,
    /// The name of the reason why the event became a dead letter.
    pub reason: &'static str,
    /// The error. If the body does not match its JSON Schema, the error consists of the path in the
    /// body and the rule of the schema that is violated there.
    pub detail: String,
    /// How many attempts were made on the event.
    pub attempts: u32,
    /// When the event last became a dead letter.
    pub died_at: String,
    /// The event id, 32 hex digits.
    pub event: String,
}

/// One dead letter with its history.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetterReport {
    /// Where the dead letter comes from (broker or store): always the store.
    pub source: Source,
    /// The dead letter.
    pub dead: DeadLine,
    /// The earlier deaths of the event: when and why it became a dead letter that was then
    /// replayed. The earliest death comes first.
    pub earlier: Vec<EarlierDeathLine>,
    /// What happened to the event on each route.
    pub history: History,
}

/// An earlier death: a time at which the event became a dead letter that was replayed later.
#[derive(Debug, Clone, Serialize)]
pub struct EarlierDeathLine {
    /// When the event became a dead letter.
    pub died_at: String,
    /// The name of the reason why the event became a dead letter.
    pub reason: &'static str,
    /// The error. If the body does not match its JSON Schema, the error consists of the path in the
    /// body and the rule of the schema that is violated there.
    pub detail: String,
    /// How many attempts had been made on the event before this death.
    pub attempts: u32,
    /// When the dead letter was replayed.
    pub replayed_at: String,
    /// The operator who replayed the dead letter.
    pub replayed_by: String,
}

impl EarlierDeathLine {
    fn of(death: &EarlierDeath) -> Self {
        Self {
            died_at: death.died_at.to_string(),
            reason: death.reason.as_str(),
            detail: death.detail.clone(),
            attempts: death.attempts,
            replayed_at: death.replayed_at.to_string(),
            replayed_by: death.replayed_by.clone(),
        }
    }
}

impl DeadLine {
    pub(crate) fn of(row: &DeadRow) -> Self {
        Self {
            id: row.id,
            route: row.route.to_string(),
            topic: row.topic.to_string(),
            state: row.state.as_str(),
            reason: row.reason.as_str(),
            detail: row.detail.clone(),
            attempts: row.attempts,
            died_at: row.died_at.to_string(),
            event: row.event.to_string(),
        }
    }
}

/// Lists dead letters with an id larger than `after`, in the order of their ids. With `total`, also
/// counts all dead letters that match the filter.
pub async fn list(
    ledger: &dyn Ledger,
    filter: &DeadFilter,
    after: i64,
    limit: u32,
    total: bool,
) -> Result<DeadReport, CommandError> {
    regroup_for(ledger, filter).await?;
    let total = if total {
        let counted = ledger.dead_count(filter).await;
        Some(counted.map_err(CommandError::store("count the dead letters"))?)
    } else {
        None
    };
    let mut rows = ledger
        .dead_list(filter, after, page::wanted(limit))
        .await
        .map_err(CommandError::store("list the dead letters"))?;
    let next = page::cut(&mut rows, limit).map(|last| last.id);
    Ok(DeadReport {
        source: Source::Store,
        total,
        dead: rows.iter().map(DeadLine::of).collect(),
        next,
    })
}

/// Shows one dead letter. If `reveal` is given, the report includes the body; `reveal` is the name
/// of the operator. In this case a row is first written to the audit, and if that fails, the body
/// is not shown.
pub async fn show(
    ledger: &dyn Ledger,
    id: i64,
    reveal: Option<&str>,
) -> Result<DeadLetterReport, CommandError> {
    let dead = ledger
        .dead_show(id)
        .await
        .map_err(CommandError::store(format!("look up dead letter {id}")))?
        .ok_or(CommandError::NoDeadLetter { id })?;
    let mut history = History::of(&dead.history);
    if let Some(by) = reveal {
        let subject = format!("dead letter {id} (event {})", dead.row.event);
        ledger
            .audit(by, "dead.body", &subject)
            .await
            .map_err(CommandError::store(
                "record in the audit that the body is shown",
            ))?;
        history.body = Some(Body::of(&dead.history.body));
    }
    Ok(DeadLetterReport {
        source: Source::Store,
        dead: DeadLine::of(&dead.row),
        earlier: dead.earlier.iter().map(EarlierDeathLine::of).collect(),
        history,
    })
}

/// Describes a filter of dead letters in words, for questions to the operator and for the audit.
pub(crate) fn words(filter: &DeadFilter) -> String {
    let mut words = Vec::new();
    if !filter.ids.is_empty() {
        let named = filter.ids.iter().take(IDS_NAMED_MAX);
        let ids: Vec<String> = named.map(ToString::to_string).collect();
        let more = match filter.ids.len().saturating_sub(IDS_NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        words.push(format!("ids {}{more}", ids.join(", ")));
    }
    if let Some(route) = &filter.route {
        words.push(format!("route {route}"));
    }
    if let Some(topic) = &filter.topic {
        words.push(format!("topic {topic}"));
    }
    if let Some(reason) = filter.reason {
        words.push(format!("reason {}", reason.as_str()));
    }
    if let Some(state) = filter.state {
        words.push(format!("state {}", state.as_str()));
    }
    if let Some(group) = filter.group {
        words.push(format!("group {group}"));
    }
    if let Some(source) = &filter.source {
        words.push(format!("source {source}"));
    }
    if let Some(since) = filter.since {
        words.push(format!("since {since}"));
    }
    if let Some(until) = filter.until {
        words.push(format!("until {until}"));
    }
    if let Some(error) = &filter.error {
        words.push(format!("error {error:?}"));
    }
    if words.is_empty() {
        "all".to_owned()
    } else {
        words.join(", ")
    }
}
