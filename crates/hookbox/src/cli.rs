//! The command line: what can be said, and nothing of what is done.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use hookbox_event::RouteName;

use crate::command::{DeadCommand, EventsCommand, ReconcileArgs, SendArgs, SimulateArgs};

/// A durable, verified inbox for webhooks.
#[derive(Debug, Parser)]
#[command(name = "hookbox", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// The config file [default: $HOOKBOX_CONFIG, else ./hookbox.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done; 1 not done, or what was looked at is not well; \
    2 wrong arguments; 64 the config cannot be used; 69 the broker or the store cannot be reached; \
    70 an internal error; 78 refused (another environment, schema or queues, unsafe settings); \
    130 stopped by a second signal";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Try hookbox: one process, all roles, one SQLite file, a development key; nothing to set up
    Dev(DevArgs),
    /// Run all roles in one process
    Run,
    /// Receive webhooks
    Ingest,
    /// Process events
    Worker(WorkerArgs),
    /// Bring the database's schema up to this version; says what it does
    Migrate,
    /// Check the config and print what it comes to, with secrets hidden
    CheckConfig,
    /// Ask a running hookbox whether it is ready, for container health checks
    Healthcheck(HealthcheckArgs),
    /// How much waits in each queue, by the broker, with the store's side beside it
    Queues,
    /// What came in, and where it stands
    #[command(subcommand)]
    Events(EventsCommand),
    /// What routes have given up on: look, replay, discard, export
    #[command(subcommand)]
    Dead(DeadCommand),
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
    #[arg(long, default_value = ".hookbox-dev", value_name = "FOLDER")]
    pub dir: PathBuf,

    /// Where to listen; loopback only
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,
}

/// Arguments of `worker`.
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Work on this route only; may be said more than once [default: all routes]
    #[arg(long, value_name = "NAME")]
    pub route: Vec<RouteName>,
}

/// Arguments of `healthcheck`.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// What to ask
    #[arg(long, default_value = "http://127.0.0.1:8080/readyz")]
    pub url: String,
}
