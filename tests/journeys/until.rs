//! Runs a command repeatedly until its output satisfies a condition.

use std::time::Duration;

use hookbox_testkit::servers::process::wait_until;
use serde_json::Value;

use crate::deployment::Deployment;

/// The longest time that a test waits for a condition. A busy machine may need that long.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs a command repeatedly, and returns the first JSON output for which `wanted` is true.
#[track_caller]
pub fn until(deployment: &Deployment, command: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
    let mut answer = Value::Null;
    let is_wanted = wait_until(PATIENCE, || {
        answer = deployment.json(command);
        wanted(&answer)
    });
    assert!(is_wanted, "{answer:#}\n{}", deployment.log());
    answer
}
