//! The journal of a load: for each event, the requests that the client sent and the responses that
//! it got.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// One line of the journal: one request.
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

/// The class of a sent event. hookbox must accept valid and malformed events, and can process only
/// valid ones.
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
    /// The event type, as Begini names it.
    pub kind: String,
    /// The ids of the receipts that hookbox returned for the accepted requests of this event.
    pub receipts: Vec<String>,
    /// The number of requests whose result the client does not know, because no conclusive response
    /// came.
    pub unknown: u32,
    /// The number of requests that were refused and must not be retried.
    pub refused: u32,
    /// The SHA-256 digest of the body of each receipt.
    pub digests: BTreeMap<String, String>,
}

/// The journal of one load.
#[derive(Debug, Default)]
pub struct Journal {
    pub seed: u64,
    /// Whether the client sent further requests that this copy of the journal does not contain.
    pub is_partial: bool,
    pub events: BTreeMap<u32, SentEvent>,
    /// The number of requests that the client sent.
    pub attempts: u64,
    /// The number of requests that were answered 200.
    pub accepted: u64,
    /// The number of responses by status; status 0 stands for no response.
    pub answers: BTreeMap<u16, u64>,
    /// For each status, the longest time in milliseconds until a response with this status.
    pub longest: BTreeMap<u16, f64>,
}

impl Journal {
    /// Reads a journal from a file.
    ///
    /// # Errors
    /// When the file cannot be read, or a line in it is not valid.
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

    /// Returns the uid of the applicant in the body of an event.
    pub fn uid(&self, event: u32) -> String {
        format!("SIM{:016X}-{event:08X}", self.seed)
    }

    /// Returns whether an event of this journal's load may have this uid of an applicant.
    pub fn is_uid(&self, uid: &str) -> bool {
        uid.starts_with(&format!("SIM{:016X}-", self.seed))
    }

    /// Returns the id of the oldest receipt. The ids are ordered by time, so each id in an earlier
    /// journal is less than this id.
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
