//! `hookbox reconcile`: do the books balance?

use std::time::Duration;

use clap::Args;
use hookbox_console::command::reconcile;

use super::person::Person;
use super::print;
use super::queues::Sources;
use crate::config::{Config, duration};
use crate::exit::{self, Exit};

/// Arguments of `reconcile`.
#[derive(Debug, Args)]
pub struct ReconcileArgs {
    /// Wait at most so long ("30s", "5 min") until nothing is in flight and nothing waits for a
    /// retry; exits with 1 when something still moves then
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
}

/// Runs it.
pub async fn run(config: &Config, args: &ReconcileArgs, json: bool) -> anyhow::Result<Exit> {
    let sources = Sources::open(config).await?;
    let mut person = Person::new();
    if args.wait.is_some() {
        person.listen()?;
    }
    let (broker, store) = (&sources.broker, &sources.store);
    let report = reconcile::reconcile(broker, store, args.wait, &mut person).await;
    sources.close().await;
    print::report(&report, json)?;
    Ok(if report.is_well() {
        exit::OK
    } else {
        exit::FAILED
    })
}
