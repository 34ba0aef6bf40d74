//! One file a command, and the list of them.

mod check_config;
mod dead;
mod dev;
mod events;
mod healthcheck;
mod ingest;
mod migrate;
mod person;
pub mod print;
mod queues;
mod reconcile;
mod roles;
mod run;
mod send;
mod simulate;
mod worker;

pub use dead::DeadCommand;
pub use dev::FOLDER as DEV_FOLDER;
pub use events::EventsCommand;
pub use queues::QueuesArgs;
pub use reconcile::ReconcileArgs;
pub use send::SendArgs;
pub use simulate::SimulateArgs;

use anyhow::Context as _;

use crate::cli::{Cli, Command, ServiceArgs};
use crate::config::Config;
use crate::exit::Exit;
use crate::telemetry::Log;

/// Runs one command.
pub async fn run(cli: Cli, log: &Log) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Dev(args) => dev::run(args, &cli.log, cli.json, log).await,
        Command::Run(args) => run::run(service(&cli, &args.service, log)?, args.create, log).await,
        Command::Ingest(args) => ingest::run(service(&cli, args, log)?, log).await,
        Command::Worker(args) => worker::run(service(&cli, &args.service, log)?, args, log).await,
        Command::Migrate => migrate::run(&load(&cli)?, cli.json).await,
        Command::CheckConfig => check_config::run(&load(&cli)?, cli.json),
        Command::Healthcheck(args) => healthcheck::run(&cli, args).await,
        Command::Queues(args) => queues::run(&load(&cli)?, args, cli.json).await,
        Command::Events(command) => events::run(&load(&cli)?, command, cli.json).await,
        Command::Dead(command) => dead::run(&load(&cli)?, command, cli.json).await,
        Command::Reconcile(args) => reconcile::run(&load(&cli)?, args, cli.json).await,
        Command::Send(args) => send::run(&load(&cli)?, args, cli.json).await,
        Command::Simulate(args) => simulate::run(&load(&cli)?, args, cli.json).await,
    }
}

/// The config, for a command that ends by itself.
fn load(cli: &Cli) -> anyhow::Result<Config> {
    Ok(Config::load(&Config::find(cli.config.as_deref()))?)
}

/// The config, for a service: it logs.
fn service(cli: &Cli, args: &ServiceArgs, log: &Log) -> anyhow::Result<Config> {
    let mut config = load(cli)?;
    config.metrics = args.metrics.or(config.metrics);
    log.begin(&cli.log, &config.log).context("start the log")?;
    Ok(config)
}
