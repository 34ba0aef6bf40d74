//! Private PostgreSQL and RabbitMQ for tests: found on the machine, started in a temporary folder
//! on free ports of the loopback interface, ended by process id, gone without a trace.
//!
//! Only the standard library, and blocking: `xtask` starts the servers of a whole run with it, and
//! a fault test one server of its own, to kill, freeze and restart. A server that was already there
//! is never touched. Nothing is left behind however the owner ends, SIGKILL included: see
//! [`folder`].
//!
//! ```no_run
//! use hookbox_testkit::servers::{PostgresServer, ServerError};
//!
//! fn outage() -> Result<(), ServerError> {
//!     let mut postgres = PostgresServer::start()?;
//!     println!("{}", postgres.url());
//!     postgres.kill()?; // as if its machine had lost power
//!     postgres.restart()?; // the same folder, the same port
//!     Ok(())
//! }
//! ```

pub mod account;
pub mod clock;
pub mod cluster;
pub mod find;
pub mod folder;
pub mod network;
pub mod nginx;
pub mod pgbouncer;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod rabbitmq;
pub mod root;

use std::fmt;
use std::io;
use std::time::Duration;

pub use clock::Clock;
pub use cluster::RabbitmqCluster;
pub use nginx::Nginx;
pub use pgbouncer::{PgBouncer, PoolMode};
pub use ports::ReservedPort;
pub use postgres::PostgresServer;
pub use rabbitmq::RabbitmqServer;

/// Why a private server could not be found, started or handled.
#[derive(Debug)]
pub enum ServerError {
    /// It is not on this machine, or only in a version that is too old.
    Missing {
        /// The server and the oldest version that will do.
        wanted: &'static str,
        /// What was there instead, with its place; empty when nothing was.
        too_old: Vec<String>,
    },
    /// The operating system refused something.
    Io {
        /// What was being done.
        doing: String,
        /// Its answer.
        source: io::Error,
    },
    /// A program that prepares or steers a server failed.
    Command {
        /// What was being done.
        doing: String,
        /// What the program wrote.
        output: String,
    },
    /// The server ended while it was starting.
    Ended {
        /// Which server.
        server: &'static str,
        /// The last lines of its log.
        log: String,
    },
    /// The server did not become ready in time.
    NotReady {
        /// Which server.
        server: &'static str,
        /// How long it was given.
        waited: Duration,
        /// The last lines of its log.
        log: String,
    },
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerError::Missing { wanted, too_old } if too_old.is_empty() => {
                write!(f, "{wanted} is not on this machine")
            }
            ServerError::Missing { wanted, too_old } => {
                write!(f, "{wanted} is wanted; too old: {}", too_old.join(", "))
            }
            ServerError::Io { doing, .. } => write!(f, "{doing} failed"),
            ServerError::Command { doing, output } => write!(f, "{doing} failed:\n{output}"),
            ServerError::Ended { server, log } => {
                write!(
                    f,
                    "{server} ended while it was starting; the end of its log:\n{log}"
                )
            }
            ServerError::NotReady {
                server,
                waited,
                log,
            } => write!(
                f,
                "{server} was not ready after {} s; the end of its log:\n{log}",
                waited.as_secs()
            ),
        }
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ServerError::Io { source, .. } => Some(source),
            ServerError::Missing { .. }
            | ServerError::Command { .. }
            | ServerError::Ended { .. }
            | ServerError::NotReady { .. } => None,
        }
    }
}

impl ServerError {
    /// Wraps an error of the operating system with what was being done.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> ServerError {
        let doing = doing.into();
        move |source| ServerError::Io { doing, source }
    }

    /// Whether another attempt on other ports may succeed: another process took one of ours between
    /// choosing it and listening on it.
    pub(crate) fn is_port_taken(&self) -> bool {
        match self {
            ServerError::Ended { log, .. } | ServerError::NotReady { log, .. } => {
                ["eaddrinuse", "in use", "address_in_use"]
                    .iter()
                    .any(|sign| log.contains(sign))
            }
            ServerError::Missing { .. } | ServerError::Io { .. } | ServerError::Command { .. } => {
                false
            }
        }
    }
}
