//! Private PostgreSQL and RabbitMQ servers for tests. Their programs are found on the machine.
//! Each server is started in a temporary folder on free ports of the loopback interface. At the
//! end, it is ended by its process id, and its folder is removed.
//!
//! The code uses only the standard library, and its calls block. `xtask` uses it to start the
//! servers of a whole test run, and a fault test to start a server of its own that it kills,
//! freezes and restarts. A server that was already running is never touched. The processes and the
//! folder are removed however the owner ends, even by SIGKILL: see [`folder`].
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
pub mod data_folder;
pub mod find;
pub mod folder;
pub mod interpreters;
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

/// The reason why a private server could not be found, started or controlled.
#[derive(Debug)]
pub enum ServerError {
    /// The server is not on this machine, or only in a version that is too old.
    Missing {
        /// The name of the server and its oldest usable version.
        wanted: &'static str,
        /// The versions that were found and are too old, each with its folder. Empty when none was
        /// found.
        too_old: Vec<String>,
    },
    /// The operating system refused an operation.
    Io {
        /// The operation that the operating system refused.
        doing: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A program that prepares or controls a server failed.
    Command {
        /// The operation that failed.
        doing: String,
        /// The output of the program.
        output: String,
    },
    /// The server ended while it was starting.
    Ended {
        /// The name of the server.
        server: &'static str,
        /// The last lines of the server's log.
        log: String,
    },
    /// The server did not become ready in time.
    NotReady {
        /// The name of the server.
        server: &'static str,
        /// How long the start waited for the server.
        waited: Duration,
        /// The last lines of the server's log.
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
                write!(
                    f,
                    "{wanted} is needed; these versions are too old: {}",
                    too_old.join(", ")
                )
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
    /// Wraps an error of the operating system, and adds the operation that failed.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> ServerError {
        let doing = doing.into();
        move |source| ServerError::Io { doing, source }
    }

    /// Returns whether the start failed because another process took a port after that port was
    /// chosen and before the server used it. If so, a new start on other ports may succeed.
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
