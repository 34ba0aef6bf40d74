//! The command line: the arguments and their help texts. What a command does is in `command/`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use hookbox_event::RouteName;

use crate::command::{
    AuditCommand, DeadCommand, DevArgs, EventsCommand, GenerateArgs, HealthcheckArgs, KeysCommand,
    QueuesArgs, ReconcileArgs, RefusalsCommand, RetriesCommand, RoutesCommand, SendArgs,
    TargetsCommand,
};
use crate::log_args::LogArgs;

/// A durable, verified inbox for webhooks.
#[derive(Debug, Parser)]
#[command(name = "hookbox", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// The config file [default: $HOOKBOX_CONFIG, else ./hookbox.toml, else
    /// .hookbox-dev/hookbox.toml, which `dev` makes]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,

    /// Options for the log of services
    #[command(flatten)]
    pub log: LogArgs,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, or the check found problems; \
    2 wrong arguments; 64 the config cannot be used; 69 the broker or the store cannot be reached; \
    70 an internal error; 78 refused (another environment, identity key, schema or queues, the \
    cursor of another store, a missing right, unsafe settings); 130 stopped at once by Ctrl-C \
    during a drain";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try hookbox: one process, all roles, two SQLite files, a development key; nothing to set up
    Dev(DevArgs),
    /// Run all roles in one process
    Run(RunArgs),
    /// Receive webhooks
    Ingest(ServiceArgs),
    /// Process events
    Worker(WorkerArgs),
    /// Bring the schema up to this version, create absent SQLite files and declare new queues;
    /// reports what it did
    Migrate,
    /// Check the config and print the effective values, with secrets hidden
    CheckConfig,
    /// Check whether a running hookbox is ready, for container health checks
    Healthcheck(HealthcheckArgs),
    /// Show queue depths (broker) with retries and dead letters (store)
    Queues(QueuesArgs),
    /// Events: list, show, follow their ends, put on a route again
    #[command(subcommand)]
    Events(EventsCommand),
    /// Dead letters: list, show, replay, discard, export
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Events that wait for another attempt: list, make due now
    #[command(subcommand)]
    Retries(RetriesCommand),
    /// Routes while workers run: list, pause, resume, set limits
    #[command(subcommand)]
    Routes(RoutesCommand),
    /// The targets of external calls, shared by all workers: list
    #[command(subcommand)]
    Targets(TargetsCommand),
    /// Refused requests and why: the newest 10,000 of `run` and `dev`
    #[command(subcommand)]
    Refusals(RefusalsCommand),
    /// The audit: what operators did and read
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Check that every accepted receipt has an outcome; exits with 1 when it finds problems
    Reconcile(ReconcileArgs),
    /// Keys: make an identity key
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Send one signed event, as a provider does
    Send(SendArgs),
    /// Send many signed events, with duplicates and forgeries among them, and print the expected
    /// outcomes
    #[command(alias = "simulate")]
    Generate(GenerateArgs),
}

/// Arguments of every service but `dev`.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// Where to show metrics and readiness; processes on one machine with one config need different
    /// addresses [default: the config's]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<SocketAddr>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Create the SQLite files of the store and the broker if they do not exist; without this
    /// option, only `migrate` creates them
    #[arg(long)]
    pub create: bool,

    /// The options that every service has
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// Arguments of `worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Process events of this route only; may be repeated [default: all routes]
    #[arg(long, value_name = "NAME")]
    pub route: Vec<RouteName>,

    /// The options that every service has
    #[command(flatten)]
    pub service: ServiceArgs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_name_of_generate_still_works() {
        let cli = Cli::try_parse_from(["hookbox", "simulate", "--count", "3"]).unwrap();
        assert!(matches!(cli.command, Command::Generate(_)));
    }
}
