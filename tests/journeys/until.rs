//! Runs a command again and again until its answer satisfies a condition.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::deployment::Deployment;

/// The longest wait for a condition. It is long, because the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns the first answer that satisfies the condition.
#[track_caller]
pub fn until(deployment: &Deployment, command: &[&str], wanted: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let answer = deployment.json(command);
        if wanted(&answer) {
            return answer;
        }
        let log = || deployment.log();
        assert!(began.elapsed() < PATIENCE, "{answer:#}\n{}", log());
    }
}
