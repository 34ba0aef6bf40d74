//! `retries list` and `retries hurry`: events that wait for another attempt.

use std::collections::HashSet;

use hookbox_driver::{EventCursor, Fault, Ledger, RetryFilter, WaitingRetry};
use hookbox_event::EventId;
use serde::Serialize;

use super::page;
use crate::operator::confirmed;
use crate::{CommandError, Operator, Problem, Source};

/// How many retries one transaction changes at most.
const CHUNK: u32 = 500;

/// The retries that wait, in the order in which they are due.
#[derive(Debug, Clone, Serialize)]
pub struct RetriesReport {
    /// Where the rows come from (broker or store): always the store.
    pub source: Source,
    /// The retries of this page.
    pub retries: Vec<RetryLine>,
    /// The cursor of the next page, which is the value of `--after`; null on the last page.
    pub next: Option<String>,
}

/// One retry that waits for its time.
#[derive(Debug, Clone, Serialize)]
pub struct RetryLine {
    /// The event id, 32 hex digits.
    pub event: String,
    /// The route on which the event waits.
    pub route: String,
    /// The topic of the event.
    pub topic: String,
    /// The number of the attempt that the retry is for.
    pub attempt: u32,
    /// When the retry is due.
    pub not_before: String,
    /// When the retry was put into its queue; null while it still waits in the store.
    pub queued_at: Option<String>,
    /// Why the event is deferred, which costs no attempt; null if it is not deferred.
    pub deferred: Option<String>,
    /// Since when the event has been deferred; null if it is not deferred.
    pub deferred_since: Option<String>,
    /// The error of the last attempt that failed.
    pub error: Option<String>,
}

/// Which retries to make due now, and how.
#[derive(Debug, Clone)]
pub struct HurryRequest {
    /// Which retries to make due.
    pub filter: RetryFilter,
    /// Whether an empty filter, which selects all retries, is intended: `--all`.
    pub all: bool,
    /// Whether to report only how many retries would be made due.
    pub dry_run: bool,
    /// Whether to skip the question: `--yes`.
    pub yes: bool,
    /// The name of the operator, for the audit.
    pub by: String,
}

/// The result of `retries hurry`.
#[derive(Debug, Clone, Serialize)]
pub struct HurryReport {
    /// Where the numbers come from (broker or store): always the store.
    pub source: Source,
    /// The filter that selected the retries, in words.
    pub filter: String,
    /// How many retries matched the filter and were not due at the start.
    pub matched: u64,
    /// How many retries were made due.
    pub hurried: u64,
    /// Whether this was a dry run, which only reports how many retries would be made due.
    pub dry_run: bool,
    /// Whether the operator interrupted the command between two transactions.
    pub interrupted: bool,
    /// What failed while retries were made due. Retries that were made due before the failure stay
    /// due.
    pub problems: Vec<Problem>,
}

impl RetryLine {
    fn of(retry: &WaitingRetry) -> Self {
        Self {
            event: retry.event.to_string(),
            route: retry.route.to_string(),
            topic: retry.topic.to_string(),
            attempt: retry.attempt,
            not_before: retry.not_before.to_string(),
            queued_at: retry.queued_at.map(|at| at.to_string()),
            deferred: retry.deferred.map(|it| it.reason.as_str().to_owned()),
            deferred_since: retry.deferred.map(|it| it.since.to_string()),
            error: retry.error.clone(),
        }
    }
}

/// Lists the retries that come after the cursor `after`, in the order in which they are due.
pub async fn list(
    ledger: &dyn Ledger,
    filter: &RetryFilter,
    after: Option<&EventCursor>,
    limit: u32,
) -> Result<RetriesReport, CommandError> {
    let mut rows = ledger
        .retries(filter, after, page::wanted(limit))
        .await
        .map_err(CommandError::store("list the retries"))?;
    let next = page::cut(&mut rows, limit).map(cursor);
    Ok(RetriesReport {
        source: Source::Store,
        retries: rows.iter().map(RetryLine::of).collect(),
        next: next.map(|next| next.to_string()),
    })
}

/// Returns the events whose ids start with the given prefixes. Each prefix must match exactly one
/// event.
pub async fn events(
    ledger: &dyn Ledger,
    prefixes: &[String],
) -> Result<Vec<EventId>, CommandError> {
    let mut events = Vec::with_capacity(prefixes.len());
    for prefix in prefixes {
        events.push(super::events::one(ledger, prefix).await?.event);
    }
    Ok(events)
}

/// Makes retries due now. Before that, shows how many they are, and asks for confirmation.
pub async fn hurry(
    ledger: &dyn Ledger,
    request: &HurryRequest,
    operator: &mut dyn Operator,
) -> Result<HurryReport, CommandError> {
    if !request.filter.is_narrow() && !request.all {
        return Err(CommandError::NoRetriesSelected);
    }
    let matched = ledger
        .retries_early(&request.filter)
        .await
        .map_err(CommandError::store("count the retries"))?;
    let mut report = HurryReport {
        source: Source::Store,
        filter: words(&request.filter),
        matched,
        hurried: 0,
        dry_run: request.dry_run,
        interrupted: false,
        problems: Vec::new(),
    };
    if request.dry_run || matched == 0 {
        return Ok(report);
    }
    if !request.yes {
        let retries = if matched == 1 { "retry" } else { "retries" };
        let filter = &report.filter;
        confirmed(
            operator,
            format!(
                "make {matched} {retries} due now ({filter}): each counts as the next attempt \
                 of its event."
            ),
        )?;
    }
    let mut run = Hurry {
        ledger,
        request,
        after: None,
        taken: HashSet::new(),
    };
    while report.hurried < matched {
        operator.progress(report.hurried, matched);
        if operator.interrupted() {
            report.interrupted = true;
            return Ok(report);
        }
        match run.next(matched - report.hurried).await {
            Ok(None) => break,
            Ok(Some(some)) => report.hurried += some,
            Err(fault) => {
                report.problems.push(Problem::of(Source::Store, &fault));
                return Ok(report);
            }
        }
    }
    Ok(report)
}

/// Makes retries due page by page, each event at most once. An event whose attempt fails at once
/// waits for its next attempt, and would otherwise be made due again and again until it has no
/// attempts left.
struct Hurry<'a> {
    ledger: &'a dyn Ledger,
    request: &'a HurryRequest,
    /// The last retry of the previous page.
    after: Option<EventCursor>,
    /// The events that were taken so far.
    taken: HashSet<EventId>,
}

impl Hurry<'_> {
    /// Makes the retries of the next page due, at most `left` of them. Returns how many it has
    /// changed; `None` after the last page.
    async fn next(&mut self, left: u64) -> Result<Option<u64>, Fault> {
        let (filter, after) = (&self.request.filter, self.after.as_ref());
        let rows = self.ledger.retries(filter, after, CHUNK).await?;
        let Some(last) = rows.last() else {
            return Ok(None);
        };
        self.after = Some(cursor(last));
        let new = rows.iter().map(|row| row.event);
        let events: Vec<EventId> = new.filter(|event| self.taken.insert(*event)).collect();
        if events.is_empty() {
            return Ok(Some(0));
        }
        let filter = RetryFilter {
            events,
            ..filter.clone()
        };
        let left = u32::try_from(left).unwrap_or(u32::MAX);
        let hurried = self.ledger.hurry(&filter, left, &self.request.by).await?;
        Ok(Some(hurried))
    }
}

/// Returns the position of a retry in the list.
fn cursor(row: &WaitingRetry) -> EventCursor {
    EventCursor {
        at: row.not_before,
        event: row.event,
        route: row.route.clone(),
    }
}

/// Describes a filter of retries in words.
fn words(filter: &RetryFilter) -> String {
    let mut words = Vec::new();
    match &filter.events[..] {
        [] => {}
        [event] => words.push(format!("event {event}")),
        events => words.push(format!("{} events", events.len())),
    }
    if let Some(route) = &filter.route {
        words.push(format!("route {route}"));
    }
    if let Some(source) = &filter.source {
        words.push(format!("source {source}"));
    }
    if let Some(since) = filter.since {
        words.push(format!("due since {since}"));
    }
    if let Some(until) = filter.until {
        words.push(format!("due until {until}"));
    }
    if words.is_empty() {
        "all".to_owned()
    } else {
        words.join(", ")
    }
}
