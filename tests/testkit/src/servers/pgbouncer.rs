//! A private PgBouncer, which is a connection pooler, in front of a private PostgreSQL. Many
//! deployments have one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::Account;
use super::find;
use super::folder::{Ending, Folder};
use super::process::{Process, ready, tail, takes_connections, wait_until};
use super::{PostgresServer, ReservedPort, ServerError};

const NAME: &str = "PgBouncer";

/// The longest wait until PgBouncer has started. The start takes less than a second, but much
/// longer on a machine that is compiling at the same time.
const READY_MAX: Duration = Duration::from_secs(30);

/// The number of PostgreSQL sessions that PgBouncer opens in transaction mode. A worker has more
/// connections than this, so its connections must share the sessions.
const POOL: u32 = 4;

/// When PgBouncer gives a PostgreSQL session to another client (its setting `pool_mode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// PgBouncer gives a session to another client when the client that had it has disconnected.
    Session,
    /// PgBouncer gives a session to another client when a transaction in it has ended.
    Transaction,
}

/// A private PgBouncer. When it is dropped, its process is ended and its folder is removed.
#[derive(Debug)]
pub struct PgBouncer {
    process: Process,
    port: u16,
    _reserved: ReservedPort,
    server: u16,
    url: String,
    // Fields are dropped in order. This is the last field, so that the folder is removed after the
    // process that uses it has ended.
    folder: Folder,
}

impl PgBouncer {
    /// Finds PgBouncer on this machine, and starts it in front of `server`.
    ///
    /// # Errors
    /// When there is no PgBouncer, or it does not start.
    pub fn before(server: &PostgresServer, mode: PoolMode) -> Result<PgBouncer, ServerError> {
        let program = find::pgbouncer()?;
        let folder = Folder::new("pgbouncer", Account::for_server("postgres")?)?;
        let reserved = ReservedPort::choose().map_err(ServerError::io("choosing a port"))?;
        let port = reserved.number();
        configure(&folder, port, server.port(), mode)?;
        let password = server.url().split(['@', ':']).nth(2).unwrap_or_default();
        folder.write("users", &format!("\"postgres\" \"{password}\"\n"))?;
        let process = start(&program, &folder, port)?;
        let url = server
            .url()
            .replacen(&server.port().to_string(), &port.to_string(), 1);
        Ok(PgBouncer {
            process,
            port,
            _reserved: reserved,
            server: server.port(),
            url,
            folder,
        })
    }

    /// Returns the URL of the PostgreSQL server through PgBouncer. The URL contains the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the URL of PgBouncer's console, which takes commands such as `PAUSE`. The URL
    /// contains the password.
    pub fn console(&self) -> String {
        let (before, _) = self.url.rsplit_once('/').unwrap_or_default();
        format!("{before}/pgbouncer")
    }

    /// Asks PgBouncer to end as soon as no client uses a session any more. (The signal for that is
    /// SIGINT; it has the effect of the commands `PAUSE` and `SHUTDOWN`.) Returns whether
    /// PgBouncer has ended within the limit.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn drain(&mut self, limit: Duration) -> Result<bool, ServerError> {
        self.process.interrupt()?;
        let process = &mut self.process;
        Ok(wait_until(limit, || process.has_ended()))
    }

    /// Starts PgBouncer again on the same port, after it has ended.
    ///
    /// # Errors
    /// When PgBouncer does not start.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.process.end(&self.folder)?;
        self.process = start(&find::pgbouncer()?, &self.folder, self.port)?;
        Ok(())
    }

    /// Changes the pool mode for new connections. Open connections keep their mode until they are
    /// closed.
    ///
    /// # Errors
    /// When the settings cannot be reloaded.
    pub fn pool(&self, mode: PoolMode) -> Result<(), ServerError> {
        configure(&self.folder, self.port, self.server, mode)?;
        let before = self.reloads();
        self.process.reload()?;
        if wait_until(READY_MAX, || self.reloads() > before) {
            return Ok(());
        }
        Err(ServerError::NotReady {
            server: NAME,
            waited: READY_MAX,
            log: tail(&log(&self.folder)),
        })
    }

    /// Returns how many times PgBouncer has logged that it reloads its settings.
    fn reloads(&self) -> usize {
        let text = std::fs::read(log(&self.folder)).unwrap_or_default();
        String::from_utf8_lossy(&text).matches("SIGHUP").count()
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        // If this fails, the folder's keeper (the process that removes the folder) ends PgBouncer.
        let _ = self.process.end(&self.folder);
    }
}

fn start(program: &Path, folder: &Folder, port: u16) -> Result<Process, ServerError> {
    let mut command = folder.launch(program, Ending::Kill);
    command.arg(folder.path().join("ini"));
    let mut process = Process::start(command, Ending::Kill, &log(folder))?;
    let answers = || takes_connections(port);
    let log_tail = || tail(&log(folder));
    match ready(&mut process, NAME, READY_MAX, answers, log_tail) {
        Ok(()) => Ok(process),
        Err(error) => {
            let _ = process.end(folder);
            Err(error)
        }
    }
}

fn configure(folder: &Folder, port: u16, server: u16, mode: PoolMode) -> Result<(), ServerError> {
    let (mode, pool) = match mode {
        // In session mode each client has a PostgreSQL session of its own, so the pool must be
        // larger than the number of clients.
        PoolMode::Session => ("session", 100),
        PoolMode::Transaction => ("transaction", POOL),
    };
    let users = folder.path().join("users");
    let lines = format!(
        "[databases]\n* = host=127.0.0.1 port={server}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
         auth_type = plain\nauth_file = {}\nadmin_users = postgres\n\
         pool_mode = {mode}\ndefault_pool_size = {pool}\n",
        users.display()
    );
    folder.write("ini", &lines).map(drop)
}

fn log(folder: &Folder) -> PathBuf {
    folder.path().join("pgbouncer.log")
}
