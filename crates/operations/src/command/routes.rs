//! `routes list`, `routes pause`, `routes resume` and `routes set`: what operators set for routes
//! while workers run.

use std::num::NonZeroU32;

use hookbox_driver::{
    Backlog, EventRate, Ledger, RouteChange, RouteControls, RouteLimits, RouteScope,
};
use hookbox_event::RouteName;
use serde::Serialize;

use super::pause_line::PauseLine;
use crate::operator::confirmed;
use crate::render::terminal;
use crate::{CommandError, Operator, Source};

/// A route of the config.
#[derive(Debug, Clone)]
pub struct ConfiguredRoute {
    /// The name of the route.
    pub name: RouteName,
    /// How many transactions of the route a worker process runs at once.
    pub concurrency: u64,
}

/// The routes, and what operators have set for them.
#[derive(Debug, Clone, Serialize)]
pub struct RoutesReport {
    /// Where the pauses and limits come from (broker or store): always the store.
    pub source: Source,
    /// The routes: those of the config, then those for which only the store has a row.
    pub routes: Vec<RouteLine>,
    /// The names of the targets that external calls do not reach now, or that asked for a pause.
    pub targets_in_trouble: Vec<String>,
}

/// One route, and what operators have set for it.
#[derive(Debug, Clone, Serialize)]
pub struct RouteLine {
    /// The name of the route.
    pub route: String,
    /// Whether the route is in the config that this command has read.
    pub configured: bool,
    /// The pause; null while the route is not paused.
    pub paused: Option<PauseLine>,
    /// How many events of the route wait because the database denied its handler a right, or lacks
    /// an object that the handler needs. After three such events, the workers pause the route.
    pub missing_right: u64,
    /// How many events of the route wait because their target was not reached.
    pub target_fault: u64,
    /// How many events a second each worker process takes at most, in the long run; null if there
    /// is no limit.
    pub rate_per_worker: Option<EventRate>,
    /// How many transactions each worker process runs at once at most: the smaller of the number
    /// that an operator has set and the number in the config. Null if there is neither number.
    pub concurrency_per_worker: Option<u64>,
    /// How many transactions at once the config allows; null if the route is not in the config.
    pub concurrency_configured: Option<u64>,
}

/// Which change to make, to which routes, and how.
#[derive(Debug, Clone)]
pub struct RouteRequest {
    /// The routes to change.
    pub scope: RouteScope,
    /// The change to make.
    pub change: RouteChange,
    /// Whether to report only what would be changed.
    pub dry_run: bool,
    /// Whether to skip the question: `--yes`.
    pub yes: bool,
    /// The name of the operator, for the audit.
    pub by: String,
}

/// A change that an operator makes to a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RouteVerb {
    /// `routes pause`.
    Pause,
    /// `routes resume`.
    Resume,
    /// `routes set`.
    Set,
}

/// The limits that are set for a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LimitsLine {
    /// How many events a second each worker process takes at most; null if there is no limit.
    /// Always null for all routes as a whole, because only single routes have limits.
    pub rate_per_worker: Option<EventRate>,
    /// How many transactions each worker process runs at once at most, but never more than the
    /// number in the config. Null if only the number in the config applies.
    pub concurrency_per_worker: Option<NonZeroU32>,
}

impl LimitsLine {
    fn of(limits: RouteLimits) -> Self {
        Self {
            rate_per_worker: limits.rate_per_worker,
            concurrency_per_worker: limits.concurrency_per_worker,
        }
    }

    /// Converts the limits to the type that the store uses.
    pub(crate) fn limits(self) -> RouteLimits {
        RouteLimits {
            rate_per_worker: self.rate_per_worker,
            concurrency_per_worker: self.concurrency_per_worker,
        }
    }
}

impl RouteVerb {
    fn of(change: &RouteChange) -> Self {
        match change {
            RouteChange::Pause { .. } => RouteVerb::Pause,
            RouteChange::Resume { .. } => RouteVerb::Resume,
            RouteChange::Limit { .. } => RouteVerb::Set,
        }
    }
}

/// The result of `routes pause`, `routes resume` or `routes set`.
#[derive(Debug, Clone, Serialize)]
pub struct RouteReport {
    /// Where the state comes from (broker or store): always the store.
    pub source: Source,
    /// The kind of change that was requested.
    pub change: RouteVerb,
    /// The name of the route, or `*` for all routes.
    pub route: RouteScope,
    /// Whether the change altered anything; in a dry run, whether it would.
    pub changed: bool,
    /// Whether this was a dry run, which changes nothing.
    pub dry_run: bool,
    /// The pause after the change; null if the route is not paused. It may be a pause of all
    /// routes.
    pub paused: Option<PauseLine>,
    /// The limits after the change; in a dry run, the limits that the change would set.
    #[serde(flatten)]
    pub limits: LimitsLine,
    /// After a resume of all routes: the routes that stay paused, because each of them has its own
    /// pause.
    pub still_paused: Vec<String>,
}

impl RouteReport {
    /// Returns whether the command succeeds (exit code 0). It fails if a route that was to be
    /// resumed stays paused by a pause of all routes.
    pub fn is_ok(&self) -> bool {
        match (self.change, &self.route) {
            (RouteVerb::Resume, RouteScope::One(_)) => self.dry_run || self.paused.is_none(),
            (RouteVerb::Resume, RouteScope::All) | (RouteVerb::Pause | RouteVerb::Set, _) => true,
        }
    }
}

/// Lists the routes of the config, and other routes that have a pause or a limit in the store.
pub async fn list(
    ledger: &dyn Ledger,
    configured: &[ConfiguredRoute],
) -> Result<RoutesReport, CommandError> {
    let controls = read(ledger).await?;
    let backlog = ledger.backlog().await;
    let backlog = backlog.map_err(CommandError::store(
        "count the waiting events of each route",
    ))?;
    let line = |name: &RouteName, configured| {
        let waits = backlog.iter().find(|waits| waits.route == *name);
        line(&controls, name, configured, waits)
    };
    let of_config = configured
        .iter()
        .map(|route| line(&route.name, Some(route.concurrency)));
    let is_configured = |name: &RouteName| configured.iter().any(|route| route.name == *name);
    let others = controls.rows().iter().filter_map(|row| match &row.scope {
        RouteScope::One(name) if !is_configured(name) => Some(line(name, None)),
        RouteScope::One(_) | RouteScope::All => None,
    });
    // A route that is not in the config is listed only if it has its own pause or a limit.
    let others = others.filter(|line| {
        let has_limits = line.rate_per_worker.is_some() || line.concurrency_per_worker.is_some();
        line.paused.as_ref().is_some_and(|pause| !pause.all_routes) || has_limits
    });
    let targets = ledger.targets().await;
    let targets = targets.map_err(CommandError::store("list the targets of external calls"))?;
    let in_trouble = targets.iter().filter(|target| target.is_in_trouble());
    Ok(RoutesReport {
        source: Source::Store,
        routes: of_config.chain(others).collect(),
        targets_in_trouble: in_trouble.map(|row| row.target.to_string()).collect(),
    })
}

fn line(
    controls: &RouteControls,
    route: &RouteName,
    configured: Option<u64>,
    waits: Option<&Backlog>,
) -> RouteLine {
    let limits = controls.limits_of(route);
    let set = limits.concurrency_per_worker.map(|it| u64::from(it.get()));
    RouteLine {
        route: route.to_string(),
        configured: configured.is_some(),
        paused: PauseLine::of(controls, route),
        missing_right: waits.map_or(0, |waits| waits.missing_right),
        target_fault: waits.map_or(0, |waits| waits.target_fault),
        rate_per_worker: limits.rate_per_worker,
        concurrency_per_worker: match (set, configured) {
            (Some(set), Some(configured)) => Some(set.min(configured)),
            (set, configured) => set.or(configured),
        },
        concurrency_configured: configured,
    }
}

/// Makes a change. Before that, shows what the change does, and asks for confirmation. If the
/// change alters nothing, does not ask.
pub async fn change(
    ledger: &dyn Ledger,
    request: &RouteRequest,
    operator: &mut dyn Operator,
) -> Result<RouteReport, CommandError> {
    let before = read(ledger).await?;
    let would_change = before.row(&request.scope).would_change(&request.change);
    if request.dry_run || !would_change {
        return Ok(report(&before, request, would_change));
    }
    if !request.yes {
        // The question may contain the reason of another operator. Control characters in it must
        // not reach this terminal.
        confirmed(operator, terminal::line(&question(&before, request)))?;
    }
    let RouteRequest {
        scope, change, by, ..
    } = request;
    let changed = ledger.change_route(scope, change, by).await;
    let changed = changed.map_err(CommandError::store(
        "change the pause or the limits of a route",
    ))?;
    Ok(report(&read(ledger).await?, request, changed))
}

async fn read(ledger: &dyn Ledger) -> Result<RouteControls, CommandError> {
    let controls = ledger.controls().await;
    controls.map_err(CommandError::store(
        "read the pauses and limits of the routes",
    ))
}

fn report(controls: &RouteControls, request: &RouteRequest, changed: bool) -> RouteReport {
    let row = controls.row(&request.scope);
    let (paused, still_paused) = match &request.scope {
        RouteScope::One(route) => (PauseLine::of(controls, route), Vec::new()),
        RouteScope::All => (PauseLine::of_all(controls), paused_alone(controls)),
    };
    let verb = RouteVerb::of(&request.change);
    RouteReport {
        source: Source::Store,
        change: verb,
        route: request.scope.clone(),
        changed,
        dry_run: request.dry_run,
        paused,
        limits: LimitsLine::of(row.limits_after(&request.change)),
        still_paused: match verb {
            RouteVerb::Resume => still_paused,
            RouteVerb::Pause | RouteVerb::Set => Vec::new(),
        },
    }
}

fn paused_alone(controls: &RouteControls) -> Vec<String> {
    let paused = controls.rows().iter().filter(|row| row.pause.is_some());
    let names = paused.filter_map(|row| match &row.scope {
        RouteScope::One(route) => Some(route.to_string()),
        RouteScope::All => None,
    });
    names.collect()
}

/// Describes what the change does, as the end of a sentence that begins with "This will".
fn question(before: &RouteControls, request: &RouteRequest) -> String {
    let scope = &request.scope;
    match &request.change {
        RouteChange::Pause { why } => format!(
            "pause {scope} ({why}): workers finish the events that run, and take and retry no \
             others until `hookbox routes resume`."
        ),
        RouteChange::Resume { .. } => {
            let row = before.row(scope);
            let pause = row.pause.as_ref();
            let paused = pause.map_or(String::new(), |pause| {
                format!(
                    ", paused by {} since {} ({})",
                    pause.by, pause.since, pause.why
                )
            });
            format!("resume {scope}{paused}: workers process what has waited.")
        }
        RouteChange::Limit { .. } => {
            let limits = before.row(scope).limits_after(&request.change);
            format!(
                "set the limits of {scope}: {limits}. Workers first finish the events that run \
                 now. After that, the new limits apply."
            )
        }
    }
}
