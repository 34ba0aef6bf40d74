//! Sends one set of events after the other while a disk fills up, and records which events of each
//! set, and of all sets, are answered 200. A set is called a round here.

use serde_json::Value;

use crate::deployment::Deployment;

/// The file in which `generate` records every answer.
const JOURNAL: &str = "journal";

/// Rounds of the same number of events. Each round has other events.
pub struct Rounds<'a> {
    deployment: &'a Deployment,
    size: u64,
    /// Additional options for `generate`.
    options: &'a [&'a str],
    sent: u64,
}

impl<'a> Rounds<'a> {
    /// Prepares rounds of `size` events each, and sends none yet.
    pub fn new(deployment: &'a Deployment, size: u64, options: &'a [&'a str]) -> Self {
        Self {
            deployment,
            size,
            options,
            sent: 0,
        }
    }

    /// Returns how many rounds of events were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends one round of events, and returns how many of them were answered 200. All others must
    /// be answered 503.
    pub fn send(&mut self) -> u64 {
        self.sent += 1;
        let (count, seed) = (self.size.to_string(), self.sent.to_string());
        let words = ["generate", "--count", &count, "--seed", &seed];
        let mut command = self.deployment.command(&words);
        command.args(["--retries", "0", "--json", "--journal", JOURNAL]);
        let output = command.args(self.options).output().unwrap();
        let tally: Value = serde_json::from_slice(&output.stdout).unwrap();
        let answered = |status: &str| tally["answers"][status].as_u64().unwrap_or(0);
        assert_eq!(answered("200") + answered("503"), self.size, "{tally:#}");
        answered("200")
    }

    /// Returns the receipts of all events of all rounds that were answered 200, in the order of the
    /// answers.
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
