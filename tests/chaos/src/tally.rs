//! Counts the results of a run.

use std::process::ExitCode;

use crate::outcome::{CaseResult, Verdict};

/// The number of cases that held, that did not hold, and that could not run.
#[derive(Default)]
pub struct Tally {
    held: usize,
    /// For each case that did not hold, the command that repeats it.
    broken: Vec<String>,
    not_run: usize,
}

impl Tally {
    /// Counts the result of a case.
    pub fn note(&mut self, outcome: &CaseResult) {
        match &outcome.verdict {
            Verdict::Held => self.held += 1,
            Verdict::Broken(_) => self.broken.push(outcome.again()),
            Verdict::DidNotRun(_) => self.not_run += 1,
        }
    }

    /// Returns whether no case was run.
    pub fn is_empty(&self) -> bool {
        self.held + self.broken.len() + self.not_run == 0
    }

    /// Returns whether a case did not hold.
    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }

    /// Prints the totals in the form `1 passed, 0 failed`, as test runners do.
    pub fn end(&self) -> ExitCode {
        for again in &self.broken {
            eprintln!("broken; repeat it with: {again}");
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
