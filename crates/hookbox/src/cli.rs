//! The command line: the arguments and their help texts. What a command does is in `command/`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hookbox_config::{LogConfig, log_filter};
use hookbox_event::RouteName;

use crate::command::{
    AuditCommand, DeadCommand, EventsCommand, GenerateArgs, QueuesArgs, ReconcileArgs,
    RefusalsCommand, RetriesCommand, SendArgs,
};

/// A durable, verified inbox for webhooks.
#[derive(Debug, Parser)]
#[command(name = "hookbox", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// The config file [default: $HOOKBOX_CONFIG, else ./hookbox.toml, else what `dev` made here]
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
    70 an internal error; 78 refused (another environment, schema or queues, a missing right, \
    unsafe settings); 130 stopped at once by Ctrl-C while it drained";

/// Logging options, which override the config.
#[derive(Debug, Clone, Default, Args)]
pub struct LogArgs {
    /// The filter for the log of services, such as "info" or "hookbox_worker=debug,info" [default:
    /// $HOOKBOX_LOG, else the config's]
    #[arg(long = "log", global = true, value_name = "FILTER", value_parser = log_filter)]
    pub filter: Option<String>,

    /// Log format [default: the config's, else text]
    #[arg(long = "log-format", global = true, value_name = "FORMAT")]
    pub format: Option<LogFormat>,
}

/// The log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    // Lines for people. (A doc comment here would lengthen the help of every command.)
    Text,
    // One JSON object per line.
    Json,
}

impl LogArgs {
    /// Returns the log settings of the config, overridden by those of the command line.
    pub fn over(&self, config: &LogConfig) -> LogConfig {
        LogConfig {
            json: self
                .format
                .map_or(config.json, |format| format == LogFormat::Json),
            filter: self.filter.clone().or_else(|| config.filter.clone()),
        }
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try hookbox: one process, all roles, one SQLite file, a development key; nothing to set up
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
    /// Show events and their state
    #[command(subcommand)]
    Events(EventsCommand),
    /// Dead letters: list, show, replay, discard, export
    #[command(subcommand)]
    Dead(DeadCommand),
    /// Events that wait for another attempt: list, make due now
    #[command(subcommand)]
    Retries(RetriesCommand),
    /// Refused requests and why: the newest 10,000
    #[command(subcommand)]
    Refusals(RefusalsCommand),
    /// The audit: what operators did and read
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Check that every accepted receipt has an outcome; exits with 1 when it finds problems
    Reconcile(ReconcileArgs),
    /// Send one signed event, as a provider does
    Send(SendArgs),
    /// Send many signed events, with duplicates and forgeries among them, and print the expected
    /// outcomes
    #[command(alias = "simulate")]
    Generate(GenerateArgs),
}

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// The folder of the config, the key and the database
    #[arg(long, default_value = crate::command::DEV_FOLDER, value_name = "FOLDER")]
    pub dir: PathBuf,

    /// Where to listen; loopback only [default: the config's, which is 127.0.0.1:8080 in
    /// a new config]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
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

/// Arguments of `healthcheck`.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// The URL to check; http only [default: /readyz at the address of the config's ingest, or at
    /// that of its metrics where no ingest listens or it has TLS]
    #[arg(long)]
    pub url: Option<String>,
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
