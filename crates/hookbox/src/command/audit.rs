//! `hookbox audit`: what operators did and read.

use clap::{Args, Subcommand};
use hookbox_config::Config;
use hookbox_driver::AuditFilter;
use hookbox_operations::command::audit;

use super::page::{LimitArgs, TimeArgs};
use super::print;
use crate::compose;
use crate::exit::{self, Exit};

/// The subcommands of `audit`.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// List the rows of the audit, newest first
    List(ListArgs),
}

/// Arguments of `audit list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only what this operator did
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Only this action, such as "dead.replay"
    #[arg(long)]
    action: Option<String>,
    #[command(flatten)]
    time: TimeArgs,
    /// Resume after this id: list only older rows
    #[arg(long, value_name = "ID")]
    after: Option<i64>,
    #[command(flatten)]
    limit: LimitArgs,
}

/// Runs a subcommand of `audit`.
pub async fn run(config: &Config, command: &AuditCommand, json: bool) -> anyhow::Result<Exit> {
    let AuditCommand::List(args) = command;
    let filter = AuditFilter {
        actor: args.actor.clone(),
        action: args.action.clone(),
        since: args.time.since,
        until: args.time.until,
    };
    let store = compose::store(config).await?;
    let listed = audit::list(&*store.ledger(), &filter, args.after, args.limit.limit).await;
    store.close().await;
    print::report(&listed?, json)?;
    Ok(exit::OK)
}
