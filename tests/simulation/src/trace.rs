//! The trace of a run: its last lines are shown to people, and its digest is compared between runs.

use std::collections::VecDeque;

use tokio::time::Instant;

/// How many of the last lines are kept for the report of a failure. The cause of a violation is
/// within the last few hundred lines. With `--trace`, all lines are kept.
const KEPT: usize = 400;

pub(crate) struct Trace {
    began: Instant,
    digest: u64,
    events: u64,
    last: VecDeque<String>,
    keep_all: bool,
}

impl Trace {
    pub fn new(began: Instant, keep_all: bool) -> Self {
        Self {
            began,
            // The digest starts with the offset basis of FNV-1a, a hash that is not cryptographic.
            // It only compares traces and need not resist attacks.
            digest: 0xcbf2_9ce4_8422_2325,
            events: 0,
            last: VecDeque::new(),
            keep_all,
        }
    }

    pub fn note(&mut self, what: &str) {
        let at = self.began.elapsed().as_millis();
        let line = format!("{:>4}.{:03} {what}", at / 1000, at % 1000);
        for byte in line.bytes().chain([b'\n']) {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.events += 1;
        if self.last.len() >= KEPT && !self.keep_all {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    pub fn digest(&self) -> u64 {
        self.digest
    }

    pub fn events(&self) -> u64 {
        self.events
    }

    pub fn lines(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }
}
