//! `hookbox retries`: lists events that wait for another attempt, and makes them due now.

use clap::{Args, Subcommand};
use hookbox_config::Config;
use hookbox_driver::{EventCursor, Ledger, RetryFilter};
use hookbox_event::{RouteName, SourceName};
use hookbox_operations::command::retries::{self, HurryRequest};

use super::page::{DueArgs, LimitArgs};
use super::person::{ConfirmArgs, Person};
use super::{names, print};
use crate::compose;
use crate::exit::{self, Exit};

/// The subcommands of `retries`.
#[derive(Debug, Subcommand)]
pub enum RetriesCommand {
    /// List retries with the last error and the time when they are due, the earliest first
    List(ListArgs),
    /// Make retries due now; each counts as the next attempt of its event
    Hurry(HurryArgs),
}

/// The options that select retries.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only retries of this route
    #[arg(long, value_name = "NAME")]
    route: Option<RouteName>,
    /// Only retries of events of this source
    #[arg(long, value_name = "NAME")]
    source: Option<SourceName>,
    #[command(flatten)]
    due: DueArgs,
}

/// Arguments of `retries list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Resume after the page that printed this cursor
    #[arg(long, value_name = "CURSOR")]
    after: Option<EventCursor>,
    #[command(flatten)]
    limit: LimitArgs,
}

/// Arguments of `retries hurry`.
#[derive(Debug, Args)]
pub struct HurryArgs {
    /// The ids of the events to retry, or their beginnings (at least 4 hex digits)
    events: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// All retries; required if neither events nor a filter is given
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

impl FilterArgs {
    fn filter(&self) -> RetryFilter {
        RetryFilter {
            events: Vec::new(),
            route: self.route.clone(),
            source: self.source.clone(),
            since: self.due.since,
            until: self.due.until,
        }
    }
}

/// Runs a subcommand of `retries`.
pub async fn run(config: &Config, command: &RetriesCommand, json: bool) -> anyhow::Result<Exit> {
    let store = compose::store(config).await?;
    let done = run_on(config, &*store.ledger(), command, json).await;
    store.close().await;
    done
}

async fn run_on(
    config: &Config,
    ledger: &dyn Ledger,
    command: &RetriesCommand,
    json: bool,
) -> anyhow::Result<Exit> {
    let filter = match command {
        RetriesCommand::List(args) => &args.filter,
        RetriesCommand::Hurry(args) => &args.filter,
    };
    let (route, source) = (filter.route.as_ref(), filter.source.as_ref());
    names::check(config, ledger, route, None, source).await?;
    match command {
        RetriesCommand::List(args) => {
            let (filter, after) = (args.filter.filter(), args.after.as_ref());
            let report = retries::list(ledger, &filter, after, args.limit.limit).await?;
            print::report(&report, json)?;
            Ok(exit::OK)
        }
        RetriesCommand::Hurry(args) => hurry(ledger, args, json).await,
    }
}

async fn hurry(ledger: &dyn Ledger, args: &HurryArgs, json: bool) -> anyhow::Result<Exit> {
    let request = HurryRequest {
        filter: RetryFilter {
            events: retries::events(ledger, &args.events).await?,
            ..args.filter.filter()
        },
        all: args.all,
        dry_run: args.confirm.dry_run,
        yes: args.confirm.yes,
        by: args.confirm.by.actor(),
    };
    let mut person = Person::new();
    let report = retries::hurry(ledger, &request, &mut person).await?;
    drop(person);
    print::report(&report, json)?;
    // If events were named on the command line and none of them has a retry, the command fails. If
    // a filter matches no retry, the command succeeds.
    let missing = !args.events.is_empty() && report.matched == 0;
    let well = !report.interrupted && report.problems.is_empty() && !missing;
    Ok(if well { exit::OK } else { exit::FAILED })
}
