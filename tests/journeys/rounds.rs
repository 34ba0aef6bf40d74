//! Rounds of load while a disk fills: what is accepted of each, and what was accepted of all.

use serde_json::Value;

use crate::deployment::Deployment;

/// The file in which `simulate` writes down every answer.
const JOURNAL: &str = "journal";

/// Rounds of load, each of other events.
pub struct Rounds<'a> {
    deployment: &'a Deployment,
    size: u64,
    /// What else `simulate` is given.
    options: &'a [&'a str],
    sent: u64,
}

impl<'a> Rounds<'a> {
    /// Rounds of so many events; none is sent yet.
    pub fn new(deployment: &'a Deployment, size: u64, options: &'a [&'a str]) -> Self {
        Self {
            deployment,
            size,
            options,
            sent: 0,
        }
    }

    /// How many rounds were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends one. How many of it were answered 200; all others were answered 503.
    pub fn send(&mut self) -> u64 {
        self.sent += 1;
        let (count, seed) = (self.size.to_string(), self.sent.to_string());
        let words = ["simulate", "--count", &count, "--seed", &seed];
        let mut command = self.deployment.command(&words);
        command.args(["--retries", "0", "--json", "--journal", JOURNAL]);
        let output = command.args(self.options).output().unwrap();
        let tally: Value = serde_json::from_slice(&output.stdout).unwrap();
        let answered = |status: &str| tally["answers"][status].as_u64().unwrap_or(0);
        assert_eq!(answered("200") + answered("503"), self.size, "{tally:#}");
        answered("200")
    }

    /// The receipts of all that was answered 200, in the order of the answers.
    pub fn accepted(&self) -> Vec<String> {
        let journal = std::fs::read_to_string(self.deployment.folder.join(JOURNAL)).unwrap();
        let lines = journal.lines().map(serde_json::from_str);
        let entries = lines.map(|entry: serde_json::Result<Value>| entry.unwrap());
        let accepted = entries.filter(|entry| entry["status"] == 200);
        accepted
            .map(|entry| entry["receipt"].as_str().unwrap().to_owned())
            .collect()
    }
}
