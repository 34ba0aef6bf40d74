//! `dead …`: what routes have given up on, and what to do about it. Reading is here; changing and
//! exporting have a file each.

mod change;
mod export;

use hookbox_driver::{DeadFilter, DeadRow, Ledger};
use serde::Serialize;

pub use change::{Change, ChangeReport, ChangeRequest, change};
pub use export::{ExportReport, export};

use super::history::{Body, History};
use crate::{CommandError, Source};

/// Most ids that a question names one by one: what a person reads before they answer.
const IDS_NAMED_MAX: usize = 10;

/// Dead letters that died of the same, the largest group first.
#[derive(Debug, Clone, Serialize)]
pub struct GroupsReport {
    /// Where it comes from: the store.
    pub source: Source,
    /// The groups.
    pub groups: Vec<Group>,
}

/// Dead letters of one route and topic that died of the same.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// How many.
    pub count: u64,
    /// The route that gave up.
    pub route: String,
    /// What about.
    pub topic: String,
    /// Why, as a word: what `--reason` takes.
    pub reason: &'static str,
    /// The first line of the detail.
    pub detail: String,
    /// When the first of them died.
    pub first_at: String,
    /// When the last of them died.
    pub last_at: String,
}

/// Dead letters in the order of their ids.
#[derive(Debug, Clone, Serialize)]
pub struct DeadReport {
    /// Where it comes from: the store.
    pub source: Source,
    /// How many the filter means, shown or not.
    pub total: u64,
    /// The first of them.
    pub dead: Vec<DeadLine>,
}

/// One dead letter in a list.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLine {
    /// Its number, by which it is named.
    pub id: i64,
    /// The route that gave up.
    pub route: String,
    /// What about.
    pub topic: String,
    /// dead, replayed or discarded.
    pub state: &'static str,
    /// Why, as a word.
    pub reason: &'static str,
    /// The error, or the path and the rule that was broken.
    pub detail: String,
    /// Attempts made.
    pub attempts: u32,
    /// When it died (last).
    pub died_at: String,
    /// The event, 64 hex digits.
    pub event: String,
}

/// One dead letter with its history.
#[derive(Debug, Clone, Serialize)]
pub struct DeadLetterReport {
    /// Where it comes from: the store.
    pub source: Source,
    /// The dead letter.
    pub dead: DeadLine,
    /// What happened to its event.
    pub history: History,
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

/// Groups dead letters by what they died of.
pub async fn groups(
    ledger: &dyn Ledger,
    filter: &DeadFilter,
) -> Result<GroupsReport, CommandError> {
    let groups = ledger
        .dead_groups(filter)
        .await
        .map_err(CommandError::store("group the dead letters"))?;
    let group = |group: &hookbox_driver::DeadGroup| Group {
        count: group.count,
        route: group.route.to_string(),
        topic: group.topic.to_string(),
        reason: group.reason.as_str(),
        detail: group.detail.clone(),
        first_at: group.first_at.to_string(),
        last_at: group.last_at.to_string(),
    };
    Ok(GroupsReport {
        source: Source::Store,
        groups: groups.iter().map(group).collect(),
    })
}

/// Lists dead letters with an id over `after`.
pub async fn list(
    ledger: &dyn Ledger,
    filter: &DeadFilter,
    after: i64,
    limit: u32,
) -> Result<DeadReport, CommandError> {
    let total = ledger
        .dead_count(filter)
        .await
        .map_err(CommandError::store("count the dead letters"))?;
    let rows = ledger
        .dead_list(filter, after, limit)
        .await
        .map_err(CommandError::store("list the dead letters"))?;
    Ok(DeadReport {
        source: Source::Store,
        total,
        dead: rows.iter().map(DeadLine::of).collect(),
    })
}

/// Shows one dead letter. With `reveal`, the name of who wants it, the body too: that leaves a
/// row in the audit first, and without the row there is no body.
pub async fn show(
    ledger: &dyn Ledger,
    id: i64,
    reveal: Option<&str>,
) -> Result<DeadLetterReport, CommandError> {
    let letter = ledger
        .dead_show(id)
        .await
        .map_err(CommandError::store(format!("look up dead letter {id}")))?
        .ok_or(CommandError::NoDeadLetter { id })?;
    let mut history = History::of(&letter.history);
    if let Some(by) = reveal {
        let subject = format!("dead letter {id} (event {})", letter.row.event);
        ledger
            .audit(by, "dead.body", &subject)
            .await
            .map_err(CommandError::store(
                "write into the audit that the body is shown",
            ))?;
        history.body = Some(Body::of(&letter.history.body));
    }
    Ok(DeadLetterReport {
        source: Source::Store,
        dead: DeadLine::of(&letter.row),
        history,
    })
}

/// What a filter means, in words for questions and for the audit: no value of it is secret.
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
    if words.is_empty() {
        "all".to_owned()
    } else {
        words.join(", ")
    }
}
