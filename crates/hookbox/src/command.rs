//! The commands, each in a file of its own, and the list of all commands.

mod audit;
mod check_config;
mod config_file;
mod dead;
mod dev;
mod events;
mod generate;
mod healthcheck;
mod ingest;
mod migrate;
mod names;
mod page;
mod person;
pub mod print;
mod queues;
mod reconcile;
mod refusals;
mod retries;
mod roles;
mod run;
mod send;
mod worker;

pub use audit::AuditCommand;
pub use dead::DeadCommand;
pub use dev::DevArgs;
pub use events::EventsCommand;
pub use generate::GenerateArgs;
pub use healthcheck::HealthcheckArgs;
pub use queues::QueuesArgs;
pub use reconcile::ReconcileArgs;
pub use refusals::RefusalsCommand;
pub use retries::RetriesCommand;
pub use send::SendArgs;

use hookbox_config::{Config, Needs};

use anyhow::Context as _;

use crate::cli::{Cli, Command, ServiceArgs};
use crate::exit::Exit;
use crate::telemetry::Log;

/// Runs the command that the command line names.
pub async fn run(cli: Cli, log: &Log) -> anyhow::Result<Exit> {
    let (store, both) = (Needs::STORE, Needs::STORE_AND_BROKER);
    match &cli.command {
        Command::Dev(args) => dev::run(args, &cli.log, cli.json, log).await,
        Command::Run(args) => {
            let config = service(&cli, &args.service, Needs::ALL, log)?;
            run::run(config, args.create, log).await
        }
        Command::Ingest(args) => {
            let config = service(&cli, args, Needs::BROKER_AND_KEYS, log)?;
            ingest::run(config, log).await
        }
        Command::Worker(args) => {
            let config = service(&cli, &args.service, Needs::STORE_AND_BROKER, log)?;
            worker::run(config, args.route.clone(), log).await
        }
        Command::Migrate => migrate::run(&load(&cli, both)?, cli.json).await,
        Command::CheckConfig => check_config::run(&load(&cli, Needs::ALL)?, cli.json),
        Command::Healthcheck(args) => healthcheck::run(cli.config.as_deref(), args).await,
        Command::Queues(args) => queues::run(&load(&cli, both)?, args, cli.json).await,
        Command::Events(command) => events::run(&load(&cli, store)?, command, cli.json).await,
        Command::Dead(command) => dead::run(&load(&cli, store)?, command, cli.json).await,
        Command::Retries(command) => retries::run(&load(&cli, store)?, command, cli.json).await,
        Command::Refusals(command) => refusals::run(&load(&cli, store)?, command, cli.json).await,
        Command::Audit(command) => audit::run(&load(&cli, store)?, command, cli.json).await,
        Command::Reconcile(args) => reconcile::run(&load(&cli, both)?, args, cli.json).await,
        Command::Send(args) => send::run(&load(&cli, Needs::KEYS)?, args, cli.json).await,
        Command::Generate(args) => generate::run(&load(&cli, Needs::KEYS)?, args, cli.json).await,
    }
}

/// Loads the config for a command that ends by itself and therefore does not log.
fn load(cli: &Cli, needs: Needs) -> anyhow::Result<Config> {
    Ok(config_file::load(cli.config.as_deref(), needs)?)
}

/// Loads the config for a service, and starts its log.
fn service(cli: &Cli, args: &ServiceArgs, needs: Needs, log: &Log) -> anyhow::Result<Config> {
    let mut config = load(cli, needs)?;
    config.metrics = args.metrics.or(config.metrics);
    log.begin(&cli.log, &config.log).context("start the log")?;
    Ok(config)
}
