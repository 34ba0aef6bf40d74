//! The log of a deployment. A thread of the process writes the lines, so a line may appear a moment
//! after its cause can be observed.

use std::time::Duration;

use hookbox_testkit::servers::process::wait_until;

use crate::deployment::Deployment;

/// The longest wait for a line, on a busy machine.
const WRITTEN_WITHIN: Duration = Duration::from_secs(20);

impl Deployment {
    /// Waits until the log contains this text, and returns the log.
    #[track_caller]
    pub fn logged(&self, what: &str) -> String {
        let is_there = wait_until(WRITTEN_WITHIN, || self.log().contains(what));
        let log = self.log();
        assert!(is_there, "the log must contain {what:?}: {log}");
        log
    }
}
