//! What a deployment has logged. Lines are written by a thread of the process, so a line may be
//! there a moment after what it is about can be seen.

use std::time::Duration;

use hookbox_testkit::servers::process::wait_until;

use crate::deployment::Deployment;

/// Longest wait for a line on a busy machine.
const WRITTEN_WITHIN: Duration = Duration::from_secs(20);

impl Deployment {
    /// The log, as soon as it contains this.
    #[track_caller]
    pub fn logged(&self, what: &str) -> String {
        let is_there = wait_until(WRITTEN_WITHIN, || self.log().contains(what));
        let log = self.log();
        assert!(is_there, "it does not say {what:?}: {log}");
        log
    }
}
