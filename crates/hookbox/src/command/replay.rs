//! `hookbox events replay`: puts stored events on a route.

use clap::Args;
use hookbox_config::{Config, RouteConfig};
use hookbox_driver::{Ledger, ReplayFilter};
use hookbox_event::{RouteName, SourceName, Topic};
use hookbox_operations::command::replay::{self, ReplayRequest};
use hookbox_operations::command::retries;

use super::page::TimeArgs;
use super::person::{ConfirmArgs, Person, rate, reason};
use super::{names, print};
use crate::compose::Registry;
use crate::exit::{self, Exit, Unusable};

/// Arguments of `events replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The ids of the events, or their beginnings (at least 4 hex digits)
    events: Vec<String>,
    /// The route to put the events on. Events whose topics the route does not select are left
    /// alone, and so are events new to the route that its conditions (`where`) exclude
    #[arg(long, value_name = "NAME")]
    route: RouteName,
    /// The reason, for the audit
    #[arg(long, value_name = "REASON", value_parser = reason)]
    why: String,
    /// Only events that the route never had. Without this option, events that are done on the route
    /// run again as well, if its handler allows that
    #[arg(long)]
    only_new: bool,
    /// Only events of this source
    #[arg(long, value_name = "NAME")]
    source: Option<SourceName>,
    /// Only events of this topic
    #[arg(long)]
    topic: Option<Topic>,
    #[command(flatten)]
    time: TimeArgs,
    /// All events; required if neither events nor a filter is given
    #[arg(long)]
    all: bool,
    /// The most events a second, such as "5/s"; Ctrl-C stops between two transactions
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<f64>,
    /// The most events to replay, the oldest first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

/// Runs `events replay`.
pub async fn run(
    config: &Config,
    ledger: &dyn Ledger,
    args: &ReplayArgs,
    handlers: &Registry,
    json: bool,
) -> anyhow::Result<Exit> {
    let (source, topic) = (args.source.as_ref(), args.topic.as_ref());
    names::check(config, ledger, Some(&args.route), topic, source).await?;
    let route = route(config, &args.route)?;
    let request = ReplayRequest {
        filter: ReplayFilter {
            route: args.route.clone(),
            topics: route.topics.clone(),
            conditions: route.conditions.clone(),
            again: !args.only_new,
            events: retries::events(ledger, &args.events).await?,
            numbers: Vec::new(),
            source: args.source.clone(),
            topic: args.topic.clone(),
            since: args.time.since,
            until: args.time.until,
        },
        is_repeatable: handlers.is_repeatable(config, route)?,
        all: args.all,
        why: args.why.clone(),
        dry_run: args.confirm.dry_run,
        yes: args.confirm.yes,
        rate: args.rate,
        limit: args.limit,
        by: args.confirm.by.actor(),
    };
    let mut person = Person::new();
    let report = replay::replay(ledger, &request, &mut person).await?;
    drop(person);
    print::report(&report, json)?;
    // If events were named on the command line and none of them can be replayed, the command fails.
    // If a filter matches no event, the command succeeds.
    let missing = !args.events.is_empty() && report.selected.replayed() == 0;
    let well = !report.interrupted && report.problems.is_empty() && !missing;
    Ok(if well { exit::OK } else { exit::FAILED })
}

/// Returns the route of this name in the config. A route that is not in the config is refused,
/// because no worker would run its events. The route `unrouted` is refused as well, because it has
/// no topics of its own.
fn route<'c>(config: &'c Config, name: &RouteName) -> Result<&'c RouteConfig, Unusable> {
    let found = config.routes.iter().find(|route| route.name == *name);
    let file = config.path.display();
    match found {
        Some(route) if route.topics.is_empty() => Err(Unusable(format!(
            "events cannot be put on route {name}, because it only gets events that no other route \
             selects; name a route with topics"
        ))),
        Some(route) => Ok(route),
        None => Err(Unusable(format!(
            "{file}: there is no route {name}, so no worker would process its events; add it to \
             the config and run `hookbox migrate`"
        ))),
    }
}
