//! `hookbox targets`: lists the targets of external calls.

use clap::Subcommand;
use hookbox_config::Config;
use hookbox_operations::command::targets;

use super::print;
use crate::compose;
use crate::exit::{self, Exit};

/// The subcommands of `targets`.
#[derive(Debug, Subcommand)]
pub enum TargetsCommand {
    /// List the targets of external calls: breaker, calls in flight, faults
    List,
}

/// Runs a subcommand of `targets`.
pub async fn run(config: &Config, command: &TargetsCommand, json: bool) -> anyhow::Result<Exit> {
    let store = compose::store(config).await?;
    let report = match command {
        TargetsCommand::List => targets::list(&*store.ledger()).await,
    };
    store.close().await;
    print::report(&report?, json)?;
    Ok(exit::OK)
}
