//! The real `hookbox` binary: where it is built, how a test runs it, and a process of it.

use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::servers::ServerError;
use crate::servers::process::{signal, wait_until};

/// The environment variables that change what hookbox does. They are removed from every command, so
/// that the settings of the user who runs the tests have no effect.
const SETTINGS: [&str; 2] = ["HOOKBOX_CONFIG", "HOOKBOX_LOG"];

/// Returns the path of the binary that cargo has built. Cargo does not give the tests of one
/// package the binary of another, so the path is derived from the folder of this program: a
/// program is beside the binary, and a test is in the folder `deps` below it.
///
/// # Errors
/// When the binary is not built.
pub fn built() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let mut folders = own.ancestors().skip(1).take(2);
    let built = folders.find_map(|folder| {
        let binary = folder.join("hookbox");
        binary.is_file().then_some(binary)
    });
    built.ok_or_else(|| {
        let remedy = "run `cargo build -p hookbox` first (`cargo xtask test` does)";
        io::Error::new(io::ErrorKind::NotFound, remedy)
    })
}

/// Builds a command of a hookbox binary. It runs in `folder`, without input and without the user's
/// settings.
pub fn command(binary: &Path, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    isolate(&mut command, folder).args(arguments);
    command
}

/// Makes a command run in `folder`, without input and without the user's settings.
pub fn isolate<'a>(command: &'a mut Command, folder: &Path) -> &'a mut Command {
    for name in SETTINGS {
        command.env_remove(name);
    }
    command.current_dir(folder).stdin(Stdio::null())
}

/// Returns the same command under a limit of the shell, such as `ulimit -n 64`.
pub fn limited(limit: &str, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited
        .arg("-c")
        .arg(format!("{limit} && exec \"$0\" \"$@\""));
    limited.arg(command.get_program()).args(command.get_args());
    let folder = command.get_current_dir().unwrap_or(Path::new("."));
    isolate(&mut limited, folder);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    limited
}

/// A running process. It is killed when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts a command, whose output goes where the command says.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        Ok(Self {
            child: command.spawn()?,
            ended: None,
        })
    }

    /// Starts a command as a service: its log is appended to a file.
    ///
    /// # Errors
    /// When the file cannot be written, or the program cannot be started.
    pub fn start_service(command: &mut Command, log: &Path) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        Self::start(command.stdout(Stdio::null()).stderr(log))
    }

    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the exit status, if the process has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }

    /// Waits at most `limit` for the process to end, and returns its exit status if it has ended.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait_until(limit, || self.ended().is_some());
        self.ended
    }

    /// Sends a signal, such as `TERM`.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn signal(&self, name: &str) -> Result<(), ServerError> {
        // A process that has ended and was waited for has given up its id. Another process may have
        // that id by now, so no signal is sent to it.
        if let Some(status) = self.ended {
            return Err(ServerError::Command {
                doing: format!("sending SIG{name} to hookbox"),
                output: format!("hookbox has already ended with {status}"),
            });
        }
        signal(name, &[self.id()])
    }

    /// Kills the process as `kill -9` does, and waits for its end. Returns whether it was alive.
    pub fn kill(&mut self) -> bool {
        let lived = self.ended().is_none();
        if lived {
            let _ = self.child.kill();
            self.ended = self.child.wait().ok();
        }
        lived
    }

    /// Returns the lines of the standard output, which the command must have piped.
    pub fn stdout(&mut self) -> Option<Lines> {
        self.child.stdout.take().map(Lines::of)
    }

    /// Returns the lines of the log, which the command must have piped.
    pub fn stderr(&mut self) -> Option<Lines> {
        self.child.stderr.take().map(Lines::of)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The lines that a process writes. A thread reads them until the process ends, so that a full pipe
/// never stops the process.
#[derive(Debug)]
pub struct Lines {
    unread: Receiver<String>,
    text: Arc<Mutex<String>>,
}

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let (send, unread) = channel();
        let text = Arc::<Mutex<String>>::default();
        let written = Arc::clone(&text);
        thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut text = written.lock().unwrap_or_else(PoisonError::into_inner);
                text.push_str(&line);
                text.push('\n');
                drop(text);
                // Sending fails when the owner has dropped `Lines`. The thread reads on, so that
                // the pipe does not fill up.
                let _ = send.send(line);
            }
        });
        Self { unread, text }
    }

    /// Reads up to the first line for which `wanted` returns a value, and returns the value; `None`
    /// when the process has closed its output, or the limit has passed.
    pub fn find<T>(
        &mut self,
        limit: Duration,
        mut wanted: impl FnMut(&str) -> Option<T>,
    ) -> Option<T> {
        let until = Instant::now() + limit;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let line = self.unread.recv_timeout(left).ok()?;
            if let Some(value) = wanted(&line) {
                return Some(value);
            }
        }
    }

    /// Reads until the process closes its output or the limit has passed, and returns everything
    /// that the process has written.
    pub fn to_end(&mut self, limit: Duration) -> String {
        self.find(limit, |_| None::<()>);
        self.text()
    }

    /// Returns everything that the process has written so far.
    pub fn text(&self) -> String {
        let text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone()
    }
}

#[cfg(test)]
mod tests;
