//! The command line: what can be said, and nothing of what is done.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use hookbox_event::RouteName;

use crate::command::{
    AuditCommand, DeadCommand, EventsCommand, QueuesArgs, ReconcileArgs, RefusalsCommand,
    RetriesCommand, SendArgs, SimulateArgs,
};
use crate::config::LogConfig;
use crate::telemetry;

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

    /// How services log
    #[command(flatten)]
    pub log: LogArgs,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 not done, or what was looked at is not well; \
    2 wrong arguments; 64 the config cannot be used; 69 the broker or the store cannot be reached; \
    70 an internal error; 78 refused (another environment, schema or queues, a missing right, \
    unsafe settings); 130 stopped at once by Ctrl-C while it drained";

/// How to log, over what the config says.
#[derive(Debug, Clone, Default, Args)]
pub struct LogArgs {
    /// What services log on standard error, as "info" or "hookbox_worker=debug,info" [default:
    /// $HOOKBOX_LOG, else the config's]
    #[arg(long = "log", global = true, value_name = "FILTER", value_parser = telemetry::filter)]
    pub filter: Option<String>,

    /// As what services log [default: the config's, else text]
    #[arg(long = "log-format", global = true, value_name = "FORMAT")]
    pub format: Option<LogFormat>,
}

/// As what to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    // Lines for people. (Not a doc comment: it would stretch the help of every command.)
    Text,
    // One object a line.
    Json,
}

impl LogArgs {
    /// The config's, with what was said on the command line over it.
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
    /// Bring the schema up to this version, create absent SQLite files and declare new queues; says
    /// what it does
    Migrate,
    /// Check the config and print what it comes to, with secrets hidden
    CheckConfig,
    /// Ask a running hookbox whether it is ready, for container health checks
    Healthcheck(HealthcheckArgs),
    /// How much waits in each queue, by the broker, with the store's side beside it
    Queues(QueuesArgs),
    /// What came in, and where it stands
    #[command(subcommand)]
    Events(EventsCommand),
    /// What routes have given up on: look, replay, discard, export
    #[command(subcommand)]
    Dead(DeadCommand),
    /// What waits for another attempt: list, make due now
    #[command(subcommand)]
    Retries(RetriesCommand),
    /// What was not accepted, and why: the newest 10,000 requests
    #[command(subcommand)]
    Refusals(RefusalsCommand),
    /// What operators did and saw
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Do the books balance? Exits with 1 when they do not
    Reconcile(ReconcileArgs),
    /// Send one signed event, as a provider does
    Send(SendArgs),
    /// Send many signed events, with duplicates and forgeries among them, and tell what must come
    /// of them
    Simulate(SimulateArgs),
}

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Where the config, the key and the database are kept
    #[arg(long, default_value = crate::command::DEV_FOLDER, value_name = "FOLDER")]
    pub dir: PathBuf,

    /// Where to listen; loopback only [default: as its config says, which begins with
    /// 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
}

/// Arguments of every service but `dev`.
#[derive(Debug, Args)]
pub struct ServiceArgs {
    /// Where to show metrics and readiness; processes that share a config and a machine need one
    /// each [default: the config's]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<SocketAddr>,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Create the SQLite files of the store and the broker where they do not exist; without it,
    /// only `migrate` creates them
    #[arg(long)]
    pub create: bool,

    /// What every service takes
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// Arguments of `worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Work on this route only; may be said more than once [default: all routes]
    #[arg(long, value_name = "NAME")]
    pub route: Vec<RouteName>,

    /// What every service takes
    #[command(flatten)]
    pub service: ServiceArgs,
}

/// Arguments of `healthcheck`.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// What to ask; http only [default: /readyz where the config's ingest listens; where nothing
    /// listens there, or with TLS, of its metrics]
    #[arg(long)]
    pub url: Option<String>,
}
