//! `events replay`: puts stored events on a route, even events that are done on it.

use std::time::Duration;

use hookbox_driver::{Fault, Ledger, ReplayCounts, ReplayFilter, ReplayPosition};
use serde::Serialize;

use super::pace::Pace;
use crate::operator::confirmed;
use crate::{CommandError, Operator, Problem, Source};

/// How many events one transaction replays at most. The number is so small that an interrupt is
/// noticed soon, and so large that a hundred thousand events take about a minute.
const CHUNK: u32 = 500;

/// How many events one query of the plan reads at most. The query changes nothing, so it may read
/// more events than a transaction may replay.
const PLAN_PAGE: u32 = 5_000;

/// Which events to put on a route, and how.
#[derive(Debug, Clone)]
pub struct ReplayRequest {
    /// The filter that selects the events, and the route.
    pub filter: ReplayFilter,
    /// Whether the handler of the route may handle an event a second time. If not, events that are
    /// done on the route are left alone.
    pub is_repeatable: bool,
    /// Whether a filter that selects every event is intended: `--all`.
    pub all: bool,
    /// The operator's reason, for the audit.
    pub why: String,
    /// Whether to report only how many events would be replayed.
    pub dry_run: bool,
    /// Whether to skip the question: `--yes`.
    pub yes: bool,
    /// How many events to replay per second at most; `None` for as fast as possible.
    pub rate: Option<f64>,
    /// How many events to replay in all at most; `None` for no limit.
    pub limit: Option<u64>,
    /// The name of the operator, for the audit.
    pub by: String,
}

/// The result of `events replay`.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayReport {
    /// Where the numbers come from (broker or store): always the store.
    pub source: Source,
    /// The route that the events were put on.
    pub route: String,
    /// The filter that selected the events, in words.
    pub filter: String,
    /// Whether the handler of the route may handle an event a second time.
    pub repeatable: bool,
    /// What the filter selected at the start: events to run again, events to run for the first
    /// time, and events that are left alone, by the reason.
    pub selected: ReplayCounts,
    /// How many events were put on the route.
    pub replayed: u64,
    /// Whether this was a dry run, which only reports how many events would be replayed.
    pub dry_run: bool,
    /// Whether the operator interrupted the command between two transactions. What had been
    /// replayed before the interrupt stays replayed.
    pub interrupted: bool,
    /// What failed while the events were replayed. What had been replayed before the failure stays
    /// replayed.
    pub problems: Vec<Problem>,
}

impl ReplayRequest {
    /// Returns whether the filter selects less than every event.
    fn is_narrow(&self) -> bool {
        let filter = &self.filter;
        !filter.events.is_empty()
            || filter.source.is_some()
            || filter.topic.is_some()
            || filter.since.is_some()
            || filter.until.is_some()
    }
}

/// Puts events on a route. Before that, shows how many run again and how many for the first time,
/// and asks for confirmation.
pub async fn replay(
    ledger: &dyn Ledger,
    request: &ReplayRequest,
    operator: &mut dyn Operator,
) -> Result<ReplayReport, CommandError> {
    if !request.is_narrow() && !request.all {
        return Err(CommandError::NoEventsSelected);
    }
    let mut filter = request.filter.clone();
    filter.again &= request.is_repeatable;
    let mut report = ReplayReport {
        source: Source::Store,
        route: filter.route.to_string(),
        filter: words(&filter),
        repeatable: request.is_repeatable,
        selected: ReplayCounts::default(),
        replayed: 0,
        dry_run: request.dry_run,
        interrupted: false,
        problems: Vec::new(),
    };
    let last = plan(ledger, &filter, &mut report, operator).await;
    let Some(last) = last.map_err(CommandError::store("count the events to replay"))? else {
        return Ok(report);
    };
    if request.dry_run || report.interrupted || report.selected.replayed() == 0 {
        return Ok(report);
    }
    if !request.yes {
        confirmed(operator, sentence(&report, request.limit))?;
    }
    // Events that have arrived since the plan was shown are not replayed.
    let end = last.at.saturating_add(Duration::from_micros(1));
    filter.until = Some(filter.until.map_or(end, |until| until.min(end)));
    if let Err(fault) = run(ledger, request, &filter, &mut report, operator).await {
        report.problems.push(Problem::of(Source::Store, &fault));
    }
    Ok(report)
}

/// Counts the events that the filter selects, and writes the counts into the report. Returns the
/// position of the last event; `None` when there is no event.
async fn plan(
    ledger: &dyn Ledger,
    filter: &ReplayFilter,
    report: &mut ReplayReport,
    operator: &mut dyn Operator,
) -> Result<Option<ReplayPosition>, Fault> {
    let mut after = None;
    loop {
        let page = ledger.replayable(filter, after, PLAN_PAGE).await?;
        let Some(last) = page.last else {
            return Ok(after);
        };
        report.selected += page.counts;
        after = Some(last);
        if operator.interrupted() {
            report.interrupted = true;
            return Ok(after);
        }
    }
}

fn sentence(report: &ReplayReport, limit: Option<u64>) -> String {
    let ReplayCounts { again, first, .. } = report.selected;
    let (route, filter) = (&report.route, &report.filter);
    let all = report.selected.replayed();
    let events = if all == 1 { "event" } else { "events" };
    let what = match limit.filter(|limit| *limit < all) {
        Some(limit) => format!("the first {limit} of {all} {events}"),
        None => format!("{all} {events}"),
    };
    format!(
        "put {what} on route {route} ({filter}): {again} of them are done there and run again, and \
         {first} run there for the first time."
    )
}

/// Replays events in the order of their positions, each at most once. Never replays more events
/// than the operator has confirmed.
async fn run(
    ledger: &dyn Ledger,
    request: &ReplayRequest,
    filter: &ReplayFilter,
    report: &mut ReplayReport,
    operator: &mut dyn Operator,
) -> Result<(), Fault> {
    let total = request
        .limit
        .unwrap_or(u64::MAX)
        .min(report.selected.replayed());
    let pace = Pace::new(request.rate);
    let mut after = None;
    loop {
        operator.progress(report.replayed, total);
        let left = u32::try_from(total.saturating_sub(report.replayed)).unwrap_or(CHUNK);
        if left == 0 {
            return Ok(());
        }
        pace.wait(report.replayed, operator).await;
        if operator.interrupted() {
            report.interrupted = true;
            return Ok(());
        }
        let wanted = pace.chunk(CHUNK).min(left);
        let page = ledger
            .replay(filter, after, wanted, &request.by, &request.why)
            .await?;
        report.replayed += page.counts.replayed();
        let Some(last) = page.last else {
            return Ok(());
        };
        after = Some(last);
    }
}

/// Describes a filter of events in words.
fn words(filter: &ReplayFilter) -> String {
    let mut words = Vec::new();
    match &filter.events[..] {
        [] => {}
        [event] => words.push(format!("event {event}")),
        events => words.push(format!("{} events", events.len())),
    }
    if let Some(source) = &filter.source {
        words.push(format!("source {source}"));
    }
    if let Some(topic) = &filter.topic {
        words.push(format!("topic {topic}"));
    }
    if let Some(since) = filter.since {
        words.push(format!("received since {since}"));
    }
    if let Some(until) = filter.until {
        words.push(format!("received until {until}"));
    }
    if words.is_empty() {
        "all".to_owned()
    } else {
        words.join(", ")
    }
}
