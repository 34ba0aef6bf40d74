//! What the client saw, read back from the journal: for each event, what was sent and what was
//! answered.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// One line.
#[derive(Debug, Deserialize)]
struct Line {
    event: u32,
    class: Class,
    r#type: String,
    status: Option<u16>,
    receipt: Option<String>,
    digest: String,
    milliseconds: f64,
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    Valid,
    Tampered,
    Malformed,
}

/// One event that was sent, and how its requests were answered.
#[derive(Debug)]
pub struct SentEvent {
    pub class: Class,
    /// Begini's type.
    pub kind: String,
    /// The receipts of everything that was accepted.
    pub receipts: Vec<String>,
    /// Attempts with an unknown outcome.
    pub unknown: u32,
    /// Attempts that were refused for good.
    pub refused: u32,
    /// SHA-256 of the body that each receipt is of.
    pub digests: BTreeMap<String, String>,
}

/// A journal.
#[derive(Debug, Default)]
pub struct Journal {
    pub seed: u64,
    /// Whether more was sent than it records.
    pub is_partial: bool,
    pub events: BTreeMap<u32, SentEvent>,
    /// Requests made.
    pub attempts: u64,
    /// Requests answered 200.
    pub accepted: u64,
    /// Answers by their status; 0 where none came.
    pub answers: BTreeMap<u16, u64>,
    /// The longest that each of them took, in milliseconds.
    pub longest: BTreeMap<u16, f64>,
}

impl Journal {
    /// Reads one.
    ///
    /// # Errors
    /// When it cannot be read, or a line in it is none.
    pub fn read(seed: u64, path: &Path) -> Result<Self> {
        let file = std::fs::File::open(path);
        let file = file.with_context(|| format!("opening the journal {}", path.display()))?;
        let mut journal = Journal {
            seed,
            ..Journal::default()
        };
        for line in BufReader::new(file).lines() {
            let line = line.context("reading the journal")?;
            let line: Line = serde_json::from_str(&line)
                .with_context(|| format!("reading a line of the journal: {line}"))?;
            journal.note(line);
        }
        Ok(journal)
    }

    /// The applicant in an event's body.
    pub fn uid(&self, event: u32) -> String {
        format!("SIM{:016X}-{event:08X}", self.seed)
    }

    /// The oldest receipt: those of other journals are older, as receipts are ordered by time.
    pub fn first_receipt(&self) -> Option<&str> {
        let receipts = self.events.values().flat_map(|sent| &sent.receipts);
        receipts.map(String::as_str).min()
    }

    fn note(&mut self, line: Line) {
        self.attempts += 1;
        let status = line.status.unwrap_or(0);
        *self.answers.entry(status).or_default() += 1;
        let longest = self.longest.entry(status).or_default();
        *longest = longest.max(line.milliseconds);
        let sent = self.events.entry(line.event).or_insert_with(|| SentEvent {
            class: line.class,
            kind: line.r#type,
            receipts: Vec::new(),
            unknown: 0,
            refused: 0,
            digests: BTreeMap::new(),
        });
        match (line.status, line.receipt) {
            (Some(200), Some(receipt)) => {
                self.accepted += 1;
                sent.digests.insert(receipt.clone(), line.digest);
                sent.receipts.push(receipt);
            }
            (Some(400..=407 | 409..=428 | 430..=499), _) => sent.refused += 1,
            (Some(408 | 429), _) => {}
            _ => sent.unknown += 1,
        }
    }
}
