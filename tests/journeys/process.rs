//! A process of a deployment: signals, and its end.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use hookbox_testkit::lateness::Lateness;
use hookbox_testkit::servers::process::wait_until;

/// How often it is checked how late it may be.
const POLL: Duration = Duration::from_millis(100);

/// A process that is killed when dropped.
pub struct Process(Child);

impl From<Child> for Process {
    fn from(child: Child) -> Self {
        Self(child)
    }
}

impl Process {
    /// As the system knows it.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// As `kill -9` does.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// As a service manager does: it must drain and end well.
    pub fn stop(mut self) {
        self.signal("TERM");
        let ended = self.0.wait().unwrap();
        assert!(ended.success(), "it ended with {ended}");
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        let mut kill = Command::new("kill");
        kill.args([&format!("-{name}"), &id]);
        assert!(kill.status().unwrap().success());
    }

    /// The most memory that it has had at once, in bytes.
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

    /// Its exit code, when it ends within a limit; 128 and the signal's number, when one ended it.
    /// A machine that has no time for this process has none for that one: the limit allows for it.
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
