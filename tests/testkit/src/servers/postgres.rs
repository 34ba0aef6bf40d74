//! A private PostgreSQL with its own data folder and port, and a random password. Its data is as
//! durable as in production.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use super::find::{self, Postgres};
use super::folder::{Ending, Folder};
use super::process::{self, Process, tail};
use super::{Clock, ReservedPort, ServerError, data_folder};

const NAME: &str = "PostgreSQL";

/// The longest wait until the server is ready. A start takes one second, but the recovery after a
/// kill under load takes much longer on a slow machine.
const READY_MAX: Duration = Duration::from_secs(60);

/// The time limit of one check whether the server answers.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How many times the start is tried. Each further try chooses another port, because another
/// process may have taken the first port in the meantime.
const STARTS_MAX: u32 = 3;

/// The number of connections that the server allows. Tests run in parallel, and each of them has
/// one or two connection pools.
const CONNECTIONS_MAX: u32 = 300;

/// A private PostgreSQL. When it is dropped, its processes are ended and its folder is removed.
#[derive(Debug)]
pub struct PostgresServer {
    process: Process,
    found: Postgres,
    port: u16,
    _reserved: ReservedPort,
    url: String,
    environment: Environment,
    // Fields are dropped in order. This is the last field, so that the folder is removed after the
    // processes that use it have ended.
    folder: Folder,
}

/// The environment variables of the server's processes, apart from the search path.
type Environment = Vec<(&'static str, OsString)>;

impl PostgresServer {
    /// Finds the newest PostgreSQL of this machine, and starts it.
    ///
    /// # Errors
    /// When no PostgreSQL is new enough, or it does not start.
    pub fn start() -> Result<PostgresServer, ServerError> {
        PostgresServer::start_found(&find::postgres()?, &[])
    }

    /// Starts a PostgreSQL that [`find`] has found, with additional settings (such as
    /// `("wal_level", "logical")`).
    ///
    /// # Errors
    /// When PostgreSQL does not start.
    pub fn start_found(
        found: &Postgres,
        settings: &[(&str, &str)],
    ) -> Result<PostgresServer, ServerError> {
        start(found, settings, Vec::new())
    }

    /// Starts the newest PostgreSQL of this machine with `clock` as its clock.
    ///
    /// # Errors
    /// When no PostgreSQL is new enough, or it does not start.
    pub fn start_by(clock: &Clock) -> Result<PostgresServer, ServerError> {
        start(&find::postgres()?, &[], clock.environment())
    }

    /// Returns the superuser's URL of the database `postgres`. The URL holds the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the port on 127.0.0.1. A restart does not change it.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the version of the server.
    pub fn version(&self) -> find::Version {
        self.found.version
    }

    /// Returns the process id of the postmaster.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns the folder of the server.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Returns the lines of the log about processes of the server that crashed. A test would
    /// otherwise show such a crash only as lost connections.
    pub fn crashes(&self) -> String {
        crashes(&fs::read(log(&self.folder)).unwrap_or_default())
    }

    /// Kills all processes of the server at once with SIGKILL, as in a crash.
    ///
    /// # Errors
    /// When one of the processes does not end.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        self.process.kill(&self.folder)
    }

    /// Freezes all processes of the server: connections stay open, and nothing answers.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn stop(&self) -> Result<(), ServerError> {
        self.process.stop()
    }

    /// Resumes the server after [`PostgresServer::stop`].
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn cont(&self) -> Result<(), ServerError> {
        self.process.cont()
    }

    /// Ends the server if it runs, starts it again on the same data and port, and waits until it
    /// answers.
    ///
    /// # Errors
    /// When the server does not end or does not start.
    pub fn restart(&mut self) -> Result<(), ServerError> {
        self.process.end(&self.folder)?;
        self.process = launch(&self.found, &self.environment, &self.folder)?;
        ready(&mut self.process, self.port, &self.folder)
    }

    /// Leaves the server running when this value is dropped. Returns the process id of the folder's
    /// keeper: a SIGTERM to this process ends the server and removes its folder.
    ///
    /// # Errors
    /// When the keeper has ended.
    pub fn keep(mut self) -> Result<u32, ServerError> {
        self.folder.keep()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        if self.folder.is_ours() {
            // If the server cannot be ended here, the folder's keeper (the process that removes the
            // folder) ends it.
            let _ = self.process.end(&self.folder);
        }
    }
}

fn start(
    found: &Postgres,
    settings: &[(&str, &str)],
    environment: Environment,
) -> Result<PostgresServer, ServerError> {
    let mut starts = 1;
    loop {
        match start_once(found, settings, environment.clone()) {
            Err(error) if error.is_port_taken() && starts < STARTS_MAX => starts += 1,
            result => return result,
        }
    }
}

fn start_once(
    found: &Postgres,
    settings: &[(&str, &str)],
    environment: Environment,
) -> Result<PostgresServer, ServerError> {
    let folder = Folder::for_server("postgres", "postgres", found.root.as_ref())?;
    let password = data_folder::make(found, &folder)?;
    let reserved = ReservedPort::choose().map_err(ServerError::io("choosing a port"))?;
    let port = reserved.number();
    configure(&folder, port, settings)?;
    let mut process = launch(found, &environment, &folder)?;
    if let Err(error) = ready(&mut process, port, &folder) {
        let _ = process.end(&folder);
        return Err(error);
    }
    let url = format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres");
    Ok(PostgresServer {
        process,
        found: found.clone(),
        port,
        _reserved: reserved,
        url,
        environment,
        folder,
    })
}

fn configure(folder: &Folder, port: u16, settings: &[(&str, &str)]) -> Result<(), ServerError> {
    let mut lines = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = ''\n\
         max_connections = {CONNECTIONS_MAX}\nlogging_collector = off\n\
         # Inside the folder, so that nothing stays in /dev/shm after a kill.\n\
         dynamic_shared_memory_type = mmap\n"
    );
    for (name, value) in settings {
        lines.push_str(&format!("{name} = '{}'\n", value.replace('\'', "''")));
    }
    folder.write("data/postgresql.auto.conf", &lines).map(drop)
}

fn launch(
    found: &Postgres,
    environment: &Environment,
    folder: &Folder,
) -> Result<Process, ServerError> {
    let mut command = folder.launch(&found.programs.join("postgres"), Ending::Quit);
    command
        .arg("-D")
        .arg(folder.path().join("data"))
        .env("LC_ALL", "C")
        .envs(environment.iter().cloned());
    Process::start(command, Ending::Quit, &log(folder))
}

fn log(folder: &Folder) -> PathBuf {
    folder.path().join("postgres.log")
}

/// Returns the lines of a log about processes that crashed.
fn crashes(log: &[u8]) -> String {
    let log = String::from_utf8_lossy(log);
    let marks = [
        "server process (PID",
        "Failed process was running",
        "PANIC:",
    ];
    let is_crash = |line: &&str| marks.iter().any(|mark| line.contains(mark));
    let lines: Vec<&str> = log.lines().filter(is_crash).collect();
    lines.join("\n")
}

fn ready(process: &mut Process, port: u16, folder: &Folder) -> Result<(), ServerError> {
    let id = process.id();
    let answers = || is_up(folder, id) && answers(port).unwrap_or(false);
    process::ready(process, NAME, READY_MAX, answers, || tail(&log(folder)))
}

/// Returns whether this server reports in its lock file that it is ready. An answer on the port
/// does not show that: if another server took the port first, that server answers, and this one
/// ends soon after because it has no port.
fn is_up(folder: &Folder, id: u32) -> bool {
    let lock = fs::read_to_string(folder.path().join("data/postmaster.pid"));
    let lock = lock.unwrap_or_default();
    let lines: Vec<&str> = lock.lines().map(str::trim).collect();
    lines.first() == Some(&id.to_string().as_str())
        && lines.iter().any(|line| ["ready", "standby"].contains(line))
}

/// Returns whether the server accepts connections, which means that it answers a new connection by
/// asking for the password. While the server starts or recovers, it answers with an error.
fn answers(port: u16) -> io::Result<bool> {
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    // PostgreSQL's start-up message consists of its length, the protocol version 3.0, names and
    // values that each end with a zero byte, and a final zero byte.
    let parameters = b"user\0postgres\0database\0postgres\0\0";
    let length = u32::try_from(8 + parameters.len()).map_err(io::Error::other)?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(&196_608_u32.to_be_bytes())?;
    stream.write_all(parameters)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    Ok(kind == *b"R")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_about_crashes_are_shown() {
        let log = b"12:00 [1] LOG:  checkpoint starting: time\n\
            12:01 [2] ERROR:  division by zero\n\
            12:02 [1] LOG:  server process (PID 7) was terminated by signal 9: Killed\n\
            12:02 [1] DETAIL:  Failed process was running: select 1\n\
            12:03 [1] LOG:  all server processes terminated; reinitializing\n";
        let shown = "12:02 [1] LOG:  server process (PID 7) was terminated by signal 9: Killed\n\
            12:02 [1] DETAIL:  Failed process was running: select 1";
        assert_eq!(crashes(log), shown);
        assert_eq!(crashes(b""), "");
    }
}
