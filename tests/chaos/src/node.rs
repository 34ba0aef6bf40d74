//! One process of the real hookbox binary, which may have to end at a crash point.

use std::ops::{Deref, DerefMut};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use hookbox_crash::CRASH_AT;
use hookbox_testkit::binary::Process;

use crate::used;

/// The number of SIGABRT, by which `abort()` ends a process.
const ABORTED: i32 = 6;

/// A running process. It is killed when dropped.
pub struct Node {
    process: Process,
    /// Whether the process was started with a crash point, at which it must end itself.
    is_armed: bool,
}

impl Node {
    /// Starts the command, and appends its log (standard error) to this file.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let is_armed = command.get_envs().any(|(name, _)| name == CRASH_AT);
        let process = Process::start_service(&mut command, log).context("starting hookbox")?;
        Ok(Self { process, is_armed })
    }

    /// Returns whether the process ended at its crash point. An abort of a process without a crash
    /// point does not count.
    pub fn crashed(&mut self) -> bool {
        let armed = self.is_armed;
        self.ended()
            .filter(|_| armed)
            .is_some_and(|status| status.signal() == Some(ABORTED))
    }

    /// Returns whether SIGSTOP has stopped the process.
    pub fn is_stopped(&self) -> bool {
        used::state(self.id()) == Some('T')
    }
}

impl Deref for Node {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Node {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
