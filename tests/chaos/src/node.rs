//! One process of the real hookbox binary, which receives signals by its process id.

use std::fs::OpenOptions;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use hookbox_crash::CRASH_AT;
use hookbox_testkit::servers::process::wait_until;

use crate::used;

/// The number of SIGABRT, by which `abort()` ends a process.
const ABORTED: i32 = 6;

/// A running process. It is killed when dropped.
pub struct Node {
    child: Child,
    ended: Option<ExitStatus>,
    /// Whether the process was started with a crash point, at which it must end itself.
    is_armed: bool,
}

impl Node {
    /// Starts the command, and appends its log (standard error) to this file.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.with_context(|| format!("opening {}", log.display()))?;
        let is_armed = command.get_envs().any(|(name, _)| name == CRASH_AT);
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .context("starting hookbox")?;
        Ok(Self {
            child,
            ended: None,
            is_armed,
        })
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

    /// Returns whether the process ended at its crash point. An abort of a process without a crash
    /// point does not count.
    pub fn crashed(&mut self) -> bool {
        let armed = self.is_armed;
        self.ended()
            .filter(|_| armed)
            .is_some_and(|status| status.signal() == Some(ABORTED))
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

    /// Sends a signal, such as `TERM`.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn signal(&self, name: &str) -> Result<()> {
        signal(self.id(), name)
    }

    /// Waits at most `limit` for the process to end, and returns its exit status if it has ended.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait_until(limit, || self.ended().is_some());
        self.ended
    }

    /// Returns whether SIGSTOP has stopped the process.
    pub fn is_stopped(&self) -> bool {
        used::state(self.id()) == Some('T')
    }
}

/// Sends a signal, such as `TERM`, to a child process.
///
/// # Errors
/// When the process has ended.
pub fn signal(process: u32, name: &str) -> Result<()> {
    let sent = Command::new("sh")
        .args(["-c", r#"kill -s "$0" "$1""#, name, &process.to_string()])
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("sending SIG{name}"))?;
    if sent.success() {
        Ok(())
    } else {
        bail!("SIG{name} could not be sent: process {process} has ended")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
