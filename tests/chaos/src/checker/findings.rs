//! Collects the findings of one run of the checker (the invariants that do not hold, each with the
//! event that breaks it), so that all are reported together.

use std::fmt::{self, Display};

use anyhow::Result;

use super::figures::Figures;

/// The most findings that are shown, because the first few show the pattern. Further findings are
/// only counted.
const SHOWN_MAX: usize = 12;

/// The findings of one run of the checker.
#[derive(Default)]
pub(super) struct Findings {
    shown: Vec<String>,
    more: usize,
}

impl Findings {
    pub(super) fn add(&mut self, what: String) {
        if self.shown.len() < SHOWN_MAX {
            self.shown.push(what);
        } else {
            self.more += 1;
        }
    }

    /// Returns the figures if there is no finding, or otherwise an error with the findings.
    pub(super) fn end(self, figures: Figures) -> Result<Figures> {
        if self.shown.is_empty() {
            return Ok(figures);
        }
        let more = match self.more {
            0 => String::new(),
            more => format!("\nand {more} more"),
        };
        let text = format!("{}{more}", self.shown.join("\n"));
        Err(Broken { figures, text }.into())
    }
}

/// The error of a check with findings. It carries the figures that the check has counted.
#[derive(Debug)]
struct Broken {
    figures: Figures,
    text: String,
}

impl Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Broken {}

/// Returns the figures of a check that failed with findings. They are zeros when the case ended
/// with another error, because the checker did not run to its end.
pub fn figures_of(error: &anyhow::Error) -> Figures {
    let broken = error.chain().find_map(|cause| cause.downcast_ref());
    broken.map_or_else(Figures::default, |it: &Broken| it.figures)
}
