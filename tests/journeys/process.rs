//! A process of a deployment: signals, memory, and its end.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use hookbox_testkit::lateness::Lateness;
use hookbox_testkit::servers::process::wait_until;

/// The interval at which the test checks whether the process has ended.
const POLL: Duration = Duration::from_millis(100);

/// A process. It is killed when it is dropped.
pub struct Process(Child);

impl From<Child> for Process {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Process {
    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Returns whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Kills the process with SIGKILL.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Stops the process with SIGTERM, as a service manager does. It must drain and end with exit
    /// code 0.
    pub fn stop(mut self) {
        self.signal("TERM");
        let ended = self.0.wait().unwrap();
        assert!(ended.success(), "the process ended with {ended}");
    }

    /// Sends the process the signal with this name, such as `HUP`.
    pub fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        let mut kill = Command::new("kill");
        kill.args([&format!("-{name}"), &id]);
        assert!(kill.status().unwrap().success());
    }

    /// Returns the most memory that the process has ever used, in bytes.
    pub fn peak_memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let (_, peak) = status.split_once("VmHWM:").unwrap();
        peak.split_whitespace()
            .next()
            .unwrap()
            .parse::<usize>()
            .unwrap()
            * 1024
    }

    /// Returns the exit code of a process that must end within the limit, or 128 plus the number of
    /// the signal that ended it; `None` if it still runs. On a busy machine the process and this
    /// test are both delayed, so the limit is extended by the delay that the test measures of
    /// itself.
    pub fn ends_within(mut self, limit: Duration) -> Option<i32> {
        let (began, lateness) = (Instant::now(), Lateness::measure());
        while !wait_until(POLL, || self.has_ended()) {
            if began.elapsed() > limit + lateness.allowance() {
                return None;
            }
        }
        let ended = self.0.wait().unwrap();
        ended
            .code()
            .or_else(|| ended.signal().map(|signal| 128 + signal))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
