//! `hookbox retries`: events that wait for another attempt.

use clap::{Args, Subcommand};
use hookbox_console::command::retries::{self, HurryRequest};
use hookbox_driver::{EventCursor, Ledger, RetryFilter};
use hookbox_event::{RouteName, SourceName};

use super::page::{DueArgs, LimitArgs};
use super::person::{ConfirmArgs, Person};
use super::{names, print};
use crate::compose;
use crate::config::Config;
use crate::exit::{self, Exit};

/// The subcommands of `retries`.
#[derive(Debug, Subcommand)]
pub enum RetriesCommand {
    /// List them with the last error and when they are due, those first that are due first
    List(ListArgs),
    /// Make them due now: each is the next attempt of its event, and counts
    Hurry(HurryArgs),
}

/// The filter for retries.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only of this route
    #[arg(long, value_name = "NAME")]
    route: Option<RouteName>,
    /// Only of events of this source
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
    /// Resume where a page ended: the cursor that it printed
    #[arg(long, value_name = "CURSOR")]
    after: Option<EventCursor>,
    #[command(flatten)]
    limit: LimitArgs,
}

/// Arguments of `retries hurry`.
#[derive(Debug, Args)]
pub struct HurryArgs {
    /// The ids of their events, or their beginnings: at least 4 hex digits
    events: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    /// All of them, where neither events nor a filter is given
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

/// Runs it.
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
    // Each event that was given must have matched; a filter may match nothing.
    let missing = !args.events.is_empty() && report.matched == 0;
    let well = !report.interrupted && report.problems.is_empty() && !missing;
    Ok(if well { exit::OK } else { exit::FAILED })
}
