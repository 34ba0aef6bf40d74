//! What came of a run, in numbers.

use std::process::ExitCode;

use crate::outcome::{CaseResult, Verdict};

/// How many held, which did not, and how many could not be tried.
#[derive(Default)]
pub struct Tally {
    held: usize,
    /// The commands that repeat them.
    broken: Vec<String>,
    not_run: usize,
}

impl Tally {
    /// Counts an outcome.
    pub fn note(&mut self, outcome: &CaseResult) {
        match &outcome.verdict {
            Verdict::Held => self.held += 1,
            Verdict::Broken(_) => self.broken.push(outcome.again()),
            Verdict::DidNotRun(_) => self.not_run += 1,
        }
    }

    /// Whether nothing was to run.
    pub fn is_empty(&self) -> bool {
        self.held + self.broken.len() + self.not_run == 0
    }

    /// Whether something does not hold.
    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Prints the totals, in the line by which test runners are read.
    pub fn end(&self) -> ExitCode {
        for again in &self.broken {
            eprintln!("broken; again: {again}");
        }
        let not_run = match self.not_run {
            0 => String::new(),
            some => format!(", {some} skipped"),
        };
        println!(
            "{} passed, {} failed{not_run}",
            self.held,
            self.broken.len()
        );
        if self.is_broken() {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}
