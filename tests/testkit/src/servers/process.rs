//! One server process that a test started: signals to it and its descendants, waiting with a time
//! limit, and its log.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::ServerError;
use super::folder::{Ending, Folder};
use crate::poll_pause::pause_after;

/// The shortest and the longest pause of [`wait_until`] between two checks of its condition.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(300));

/// The longest wait until a process has ended after a signal. PostgreSQL gives its own children
/// five seconds in an immediate shutdown, so this is longer.
const END_MAX: Duration = Duration::from_secs(10);

/// How many of the last log lines an error shows.
const TAIL_LINES: usize = 25;

/// The time limit of one check whether a port accepts connections.
const CONNECT_MAX: Duration = Duration::from_secs(2);

/// A running server process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ending: Ending,
}

impl Process {
    /// Starts the command that [`Folder::launch`] made, and appends its output to the file `log`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(mut command: Command, ending: Ending, log: &Path) -> Result<Self, ServerError> {
        let doing = || format!("starting a server that logs to {}", log.display());
        let out = fs::OpenOptions::new().create(true).append(true).open(log);
        let out = out.map_err(ServerError::io(doing()))?;
        let err = out.try_clone().map_err(ServerError::io(doing()))?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        Ok(Process {
            child: child.map_err(ServerError::io(doing()))?,
            ending,
        })
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Freezes the process and its children with SIGSTOP: connections stay open, and nothing
    /// answers.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn stop(&self) -> Result<(), ServerError> {
        // The process is stopped before its children are listed, so that it cannot start another
        // child after that.
        signal("STOP", &[self.id()])?;
        // An error means that a child has ended in the meantime, which does not matter.
        let _ = signal("STOP", &family(self.id()));
        Ok(())
    }

    /// Resumes the process after [`Process::stop`], with SIGCONT.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn cont(&self) -> Result<(), ServerError> {
        let _ = signal("CONT", &family(self.id()));
        signal("CONT", &[self.id()])
    }

    /// Sends SIGHUP, so that the process reads its settings again.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn reload(&self) -> Result<(), ServerError> {
        signal("HUP", &[self.id()])
    }

    /// Sends SIGINT. Its effect depends on the program: PgBouncer ends when its clients have
    /// disconnected.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn interrupt(&self) -> Result<(), ServerError> {
        signal("INT", &[self.id()])
    }

    /// Kills the process and its children at once with SIGKILL, as in a crash. Returns when all of
    /// them have ended.
    ///
    /// # Errors
    /// When one of the processes does not end.
    pub fn kill(&mut self, folder: &Folder) -> Result<(), ServerError> {
        if self.has_ended() {
            folder.forget(self.id());
            return Ok(());
        }
        // The process is frozen before its children are listed. Otherwise it could start a child
        // after that, and the child would keep the server's memory and port for a moment. An error
        // means that the process has just ended.
        let _ = signal("STOP", &[self.id()]);
        let everyone = family(self.id());
        let _ = self.child.kill();
        // An error means that some children have ended with their parent, which does not matter.
        let _ = signal("KILL", &everyone);
        self.gone(&everyone, folder)
    }

    /// Ends the process with the signal of its [`Ending`]: SIGQUIT, followed by SIGKILL if it does
    /// not end in time, or SIGKILL at once. Returns when the process and its children have ended.
    ///
    /// # Errors
    /// When one of the processes does not end.
    pub fn end(&mut self, folder: &Folder) -> Result<(), ServerError> {
        if self.has_ended() {
            folder.forget(self.id());
            return Ok(());
        }
        let everyone = family(self.id());
        // The processes may be frozen, and a frozen process handles only SIGCONT and SIGKILL. So
        // they are resumed first.
        let _ = signal("CONT", &everyone);
        match self.ending {
            Ending::Kill => return self.kill(folder),
            Ending::Quit => signal("QUIT", &[self.id()])?,
        }
        match self.gone(&everyone, folder) {
            Ok(()) => Ok(()),
            Err(_) => self.kill(folder),
        }
    }

    fn gone(&mut self, everyone: &[u32], folder: &Folder) -> Result<(), ServerError> {
        let id = self.id();
        let ended = wait_until(END_MAX, || {
            self.has_ended()
                && everyone
                    .iter()
                    .all(|member| *member == id || !is_alive(*member))
        });
        if !ended {
            return Err(ServerError::Command {
                doing: format!("ending process {id} and its children"),
                output: format!(
                    "one of these processes still runs after {} s",
                    END_MAX.as_secs()
                ),
            });
        }
        folder.forget(id);
        Ok(())
    }
}

/// Waits until a server answers, its process has ended, or the limit has passed. In the last two
/// cases it returns an error that shows the text of `log`.
///
/// # Errors
/// When the process has ended, or does not answer in time.
pub fn ready(
    process: &mut Process,
    server: &'static str,
    limit: Duration,
    mut answers: impl FnMut() -> bool,
    log: impl FnOnce() -> String,
) -> Result<(), ServerError> {
    let mut ended = false;
    let answered = wait_until(limit, || {
        ended = process.has_ended();
        ended || answers()
    });
    match (ended, answered) {
        (true, _) => Err(ServerError::Ended { server, log: log() }),
        (false, true) => Ok(()),
        (false, false) => Err(ServerError::NotReady {
            server,
            waited: limit,
            log: log(),
        }),
    }
}

/// Returns whether a port of this machine accepts connections.
pub fn takes_connections(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port).into();
    TcpStream::connect_timeout(&address, CONNECT_MAX).is_ok()
}

/// Checks `condition` repeatedly until it is true or `limit` has passed. Returns whether it became
/// true.
///
/// This is the only function in the servers' code that sleeps. Sleeping is allowed here, because
/// there is a limit, the function waits for a condition, and no other task waits for this thread.
#[expect(
    clippy::disallowed_methods,
    reason = "blocking code that waits for a state, with a limit"
)]
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        let checked = Instant::now();
        if condition() {
            return true;
        }
        if start.elapsed() >= limit {
            return false;
        }
        thread::sleep(pause_after(checked.elapsed(), PAUSE));
    }
}

/// Returns the last lines of a log, to be shown in an error.
pub fn tail(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = text.unwrap_or_else(|error| format!("{} cannot be read: {error}", log.display()));
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Runs a command that [`Folder::launch`] made and that ends by itself. Returns its output.
///
/// # Errors
/// When the command cannot be started or fails.
pub fn run(folder: &Folder, doing: &str, mut command: Command) -> Result<String, ServerError> {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(ServerError::io(doing))?;
    let id = child.id();
    let output = child.wait_with_output();
    folder.forget(id);
    said(doing, &output.map_err(ServerError::io(doing))?)
}

fn said(doing: &str, output: &Output) -> Result<String, ServerError> {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Err(ServerError::Command {
        doing: doing.to_owned(),
        output: text,
    })
}

/// Sends a signal, given by its name, to these processes. It uses the shell's built-in `kill`,
/// because not every system has a program `kill`.
///
/// # Errors
/// When one of the processes has ended.
pub fn signal(name: &str, processes: &[u32]) -> Result<(), ServerError> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(r#"kill -s "$0" "$@""#).arg(name);
    command.args(processes.iter().map(u32::to_string));
    let doing = format!("sending SIG{name}");
    let output = command.output().map_err(ServerError::io(doing.as_str()))?;
    said(&doing, &output).map(drop)
}

/// Returns a process and all its descendants.
pub fn family(root: u32) -> Vec<u32> {
    let parents = parents().unwrap_or_default();
    let mut members = vec![root];
    let mut next = 0;
    while let Some(&parent) = members.get(next) {
        members.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(id, _)| *id),
        );
        next += 1;
    }
    members
}

/// Returns whether a process is running. A process that has ended and was not yet waited for (a
/// zombie) does not count as running.
pub fn is_alive(process: u32) -> bool {
    if Path::new("/proc/self/stat").exists() {
        return stat(process).is_some_and(|(state, _)| state != 'Z' && state != 'X');
    }
    signal("0", &[process]).is_ok()
}

/// Returns every process of the system with its parent.
fn parents() -> io::Result<Vec<(u32, u32)>> {
    if !Path::new("/proc/self/stat").exists() {
        let output = Command::new("ps")
            .args(["-A", "-o", "pid=,ppid="])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        return Ok(text.lines().filter_map(two_numbers).collect());
    }
    let processes = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|id| Some((id, stat(id)?.1)));
    Ok(processes.collect())
}

fn two_numbers(line: &str) -> Option<(u32, u32)> {
    let mut words = line.split_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Returns the state and the parent of a process, from the file `stat` of `/proc`. The process
/// name before these two may contain any character, even `)`.
fn stat(process: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut words = text.rsplit_once(')')?.1.split_whitespace();
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}
