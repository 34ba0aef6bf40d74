//! `hookbox refusals`: lists and groups refused requests.

use clap::{Args, Subcommand};
use hookbox_config::Config;
use hookbox_driver::{Ledger, RefusalCursor, RefusalFilter};
use hookbox_event::SourceName;
use hookbox_operations::command::refusals;

use super::page::{LimitArgs, TimeArgs};
use super::{names, print};
use crate::compose;
use crate::exit::{self, Exit};

/// The subcommands of `refusals`.
#[derive(Debug, Subcommand)]
pub enum RefusalsCommand {
    /// Group refusals by source and reason, the largest group first
    Groups(FilterArgs),
    /// List refusals, newest first
    List(ListArgs),
}

/// The options that select refusals.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Only refusals of requests to this source
    #[arg(long, value_name = "NAME")]
    source: Option<SourceName>,
    /// Only refusals with this reason, as `refusals groups` prints it
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    time: TimeArgs,
}

/// Arguments of `refusals list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// Resume after the page that printed this cursor
    #[arg(long, value_name = "CURSOR")]
    after: Option<RefusalCursor>,
    #[command(flatten)]
    limit: LimitArgs,
}

impl FilterArgs {
    fn filter(&self) -> RefusalFilter {
        RefusalFilter {
            source: self.source.as_ref().map(ToString::to_string),
            reason: self.reason.clone(),
            since: self.time.since,
            until: self.time.until,
        }
    }
}

/// Runs a subcommand of `refusals`.
pub async fn run(config: &Config, command: &RefusalsCommand, json: bool) -> anyhow::Result<Exit> {
    let store = compose::store(config).await?;
    let printed = run_on(config, &*store.ledger(), command, json).await;
    store.close().await;
    printed?;
    Ok(exit::OK)
}

async fn run_on(
    config: &Config,
    ledger: &dyn Ledger,
    command: &RefusalsCommand,
    json: bool,
) -> anyhow::Result<()> {
    let filter = match command {
        RefusalsCommand::Groups(filter) => filter,
        RefusalsCommand::List(args) => &args.filter,
    };
    names::check(config, ledger, None, None, filter.source.as_ref()).await?;
    let filter = filter.filter();
    match command {
        RefusalsCommand::Groups(_) => {
            print::report(&refusals::groups(ledger, &filter).await?, json)?;
        }
        RefusalsCommand::List(args) => {
            let after = args.after.as_ref();
            let report = refusals::list(ledger, &filter, after, args.limit.limit).await?;
            print::report(&report, json)?;
        }
    }
    Ok(())
}
