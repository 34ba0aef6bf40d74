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
mod keys;
mod migrate;
mod names;
mod page;
mod person;
pub mod print;
mod queues;
mod reconcile;
mod refusals;
mod replay;
mod retries;
mod roles;
mod routes;
mod run;
mod send;
mod targets;
mod worker;

pub use audit::AuditCommand;
pub use dead::DeadCommand;
pub use dev::DevArgs;
pub use events::EventsCommand;
pub use generate::GenerateArgs;
pub use healthcheck::HealthcheckArgs;
pub use keys::KeysCommand;
pub use queues::QueuesArgs;
pub use reconcile::ReconcileArgs;
pub use refusals::RefusalsCommand;
pub use retries::RetriesCommand;
pub use routes::RoutesCommand;
pub use send::SendArgs;
pub use targets::TargetsCommand;

use hookbox_config::{Config, Needs};

use anyhow::Context as _;

use crate::cli::{Cli, Command, ServiceArgs};
use crate::compose::Registry;
use crate::exit::Exit;
use crate::telemetry::Log;

/// Runs the command that the command line names, in a program with these handlers.
pub async fn run(cli: Cli, handlers: &Registry, log: &Log) -> anyhow::Result<Exit> {
    let kinds = handlers.kinds();
    let load = |needs| config_file::load(cli.config.as_deref(), needs, &kinds);
    let service = |args, needs| service(&cli, args, load(needs)?, log);
    let (store, both) = (Needs::STORE, Needs::STORE_AND_BROKER);
    let processing = Needs::PROCESSING;
    let json = cli.json;
    match &cli.command {
        Command::Dev(args) => dev::run(args, &cli.log, json, handlers, log).await,
        Command::Run(args) => {
            let config = service(&args.service, Needs::ALL)?;
            run::run(config, args.create, handlers, log).await
        }
        Command::Ingest(args) => ingest::run(service(args, Needs::BROKER_AND_KEYS)?, log).await,
        Command::Worker(args) => {
            let config = service(&args.service, processing)?;
            worker::run(config, args.route.clone(), handlers, log).await
        }
        Command::Migrate => migrate::run(&load(processing)?, json).await,
        Command::CheckConfig => check_config::run(&load(Needs::ALL)?, handlers, json),
        Command::Healthcheck(args) => healthcheck::run(cli.config.as_deref(), args, &kinds).await,
        Command::Queues(args) => queues::run(&load(args.needs())?, args, json).await,
        Command::Events(command) => events::run(&load(store)?, command, handlers, json).await,
        Command::Dead(command) => dead::run(&load(store)?, command, json).await,
        Command::Retries(command) => retries::run(&load(store)?, command, json).await,
        Command::Routes(command) => routes::run(&load(store)?, command, json).await,
        Command::Targets(command) => targets::run(&load(store)?, command, json).await,
        Command::Refusals(command) => refusals::run(&load(store)?, command, json).await,
        Command::Audit(command) => audit::run(&load(store)?, command, json).await,
        Command::Reconcile(args) => reconcile::run(&load(both)?, args, handlers, json).await,
        Command::Keys(command) => keys::run(command, json),
        Command::Send(args) => send::run(&load(Needs::KEYS)?, args, json).await,
        Command::Generate(args) => generate::run(&load(Needs::KEYS)?, args, json).await,
    }
}

/// Applies the argument `--metrics` of a service to its config, and starts the log of the service.
fn service(cli: &Cli, args: &ServiceArgs, config: Config, log: &Log) -> anyhow::Result<Config> {
    let metrics = args.metrics.or(config.metrics);
    log.begin(&cli.log, &config.log)
        .context("cannot start the log")?;
    Ok(Config { metrics, ..config })
}
