//! A process of a deployment: signals, memory, and its end.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use hookbox_testkit::binary;
use hookbox_testkit::lateness::Lateness;

/// The longest wait for a drain. Only a process that hangs takes as long.
const STOP_MAX: Duration = Duration::from_secs(240);

/// The interval at which the test checks whether the process has ended.
const POLL: Duration = Duration::from_millis(100);

/// A process. It is killed when it is dropped.
pub struct Process(binary::Process);

impl From<binary::Process> for Process {
    fn from(process: binary::Process) -> Self {
        Self(process)
    }
}

impl Process {
    /// Returns the process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Returns whether the process has ended.
    pub fn has_ended(&mut self) -> bool {
        self.0.ended().is_some()
    }

    /// Kills the process with SIGKILL.
    pub fn kill(mut self) {
        self.0.kill();
    }

    /// Stops the process with SIGTERM, as a service manager does. It must drain and end with exit
    /// code 0.
    pub fn stop(mut self) {
        self.signal("TERM");
        let ended = self
            .0
            .wait(STOP_MAX)
            .expect("a process must end after SIGTERM");
        assert!(
            ended.success(),
            "the process must end with exit code 0, not with {ended}"
        );
    }

    /// Sends the process the signal with this name, such as `HUP`.
    pub fn signal(&self, name: &str) {
        self.0.signal(name).unwrap();
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

    /// Waits until the process ends, but at most for `limit`. Returns its exit code, or 128 plus
    /// the number of the signal that ended it, or `None` if it still runs. On a busy machine the
    /// process and this test are both delayed, so `limit` is extended by the delay that the test
    /// measures of itself.
    pub fn ends_within(mut self, limit: Duration) -> Option<i32> {
        let (began, lateness) = (Instant::now(), Lateness::measure());
        while self.0.wait(POLL).is_none() {
            if began.elapsed() > limit + lateness.allowance() {
                return None;
            }
        }
        let ended = self.0.ended()?;
        ended
            .code()
            .or_else(|| ended.signal().map(|signal| 128 + signal))
    }
}
