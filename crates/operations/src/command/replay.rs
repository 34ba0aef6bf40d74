//! `events replay`: puts stored events on a route, even events that are done on it.

use hookbox_driver::{Fault, Ledger, ReplayCounts, ReplayFilter};
use hookbox_event::EventNumber;
use serde::Serialize;

use super::chunks::{Chunks, Next};
use crate::operator::confirmed;
use crate::{CommandError, Operator, Problem, Source};

/// How many events one transaction replays at most. The number is so small that an interrupt is
/// noticed soon, and so large that a hundred thousand events take about a minute.
const CHUNK: u32 = 500;

/// How many events one query of the plan reads at most. The query changes nothing, so it may read
/// more events than a transaction may replay.
const PLAN_PAGE: u32 = 5_000;

/// How many events one command replays at most, whatever limit is given. The command keeps the
/// number of each event that it has shown, so ten million events take 80 MB.
const EVENTS_MAX: u64 = 10_000_000;

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

    /// Returns how many events to replay at most.
    fn most(&self) -> u64 {
        self.limit.unwrap_or(EVENTS_MAX).min(EVENTS_MAX)
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
    let shown = plan(ledger, &filter, request.most(), &mut report, operator).await;
    let shown = shown.map_err(CommandError::store("count the events to replay"))?;
    if request.dry_run || report.interrupted || shown.is_empty() {
        return Ok(report);
    }
    if !request.yes {
        confirmed(operator, sentence(&report, shown.len() as u64))?;
    }
    let mut run = Run {
        ledger,
        request,
        operator,
        report: &mut report,
    };
    if let Err(fault) = run.replay(&filter, &shown).await {
        report.problems.push(Problem::of(Source::Store, &fault));
    }
    Ok(report)
}

/// Counts the events that the filter selects, and writes the counts into the report. Returns the
/// first `most` of those that are to be replayed, in the order of their positions.
async fn plan(
    ledger: &dyn Ledger,
    filter: &ReplayFilter,
    most: u64,
    report: &mut ReplayReport,
    operator: &mut dyn Operator,
) -> Result<Vec<EventNumber>, Fault> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let (mut shown, mut after) = (Vec::new(), None);
    loop {
        let choice = ledger.replayable(filter, after, PLAN_PAGE).await?;
        let Some(last) = choice.page.last else {
            return Ok(shown);
        };
        report.selected += choice.page.counts;
        let left = most.saturating_sub(shown.len());
        shown.extend(choice.replayed.into_iter().take(left));
        after = Some(last);
        if operator.interrupted() {
            report.interrupted = true;
            return Ok(shown);
        }
    }
}

fn sentence(report: &ReplayReport, shown: u64) -> String {
    let ReplayCounts { again, first, .. } = report.selected;
    let (route, filter) = (&report.route, &report.filter);
    let all = report.selected.replayed();
    let events = if all == 1 { "event" } else { "events" };
    let what = if shown < all {
        format!("the first {shown} of {all} {events}")
    } else {
        format!("{all} {events}")
    };
    format!(
        "put {what} on route {route} ({filter}): {again} of them are done there and run again, and \
         {first} run there for the first time."
    )
}

/// A replay that the operator has confirmed.
struct Run<'a> {
    ledger: &'a dyn Ledger,
    request: &'a ReplayRequest,
    operator: &'a mut dyn Operator,
    report: &'a mut ReplayReport,
}

impl Run<'_> {
    /// Replays the events that the operator was shown, in this order, each at most once, and no
    /// others. Until the operator answers and the replay reaches them, more events may match the
    /// filter: a spool forwards older events, or an event that waited for an attempt is done. An
    /// event that may no longer be replayed is left alone.
    async fn replay(&mut self, filter: &ReplayFilter, shown: &[EventNumber]) -> Result<(), Fault> {
        let request = self.request;
        let mut chunks = Chunks::new(shown, CHUNK, request.rate);
        let mut after = None;
        loop {
            // With this limit, the store stops its search at the last event of the chunk.
            let (chunk, limit) = match chunks.next(self.operator).await {
                Next::Change(chunk, count) => (chunk, count),
                Next::End => return Ok(()),
                Next::Interrupted => {
                    self.report.interrupted = true;
                    return Ok(());
                }
            };
            let chosen = ReplayFilter {
                numbers: chunk.to_vec(),
                ..filter.clone()
            };
            let page = self
                .ledger
                .replay(&chosen, after, limit, &request.by, &request.why)
                .await?;
            self.report.replayed += page.counts.replayed();
            // All that is left has a higher position, so the store need not search before this one.
            after = page.last.or(after);
        }
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
