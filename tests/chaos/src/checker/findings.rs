//! Collects the findings of a check, so that all are reported together.

use std::fmt::{self, Display};

use anyhow::Result;

use super::figures::Figures;

/// The number of findings that are shown at most. The first few show the pattern.
const SHOWN_MAX: usize = 12;

/// The findings of a check.
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

    /// Returns the figures, or an error with the findings when there are any.
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

/// The error of a check that found something, with the figures of that check.
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

/// Returns the figures of a failed check. They are zeros when another error ended the case.
pub fn figures_of(error: &anyhow::Error) -> Figures {
    let broken = error.chain().find_map(|cause| cause.downcast_ref());
    broken.map_or_else(Figures::default, |it: &Broken| it.figures)
}
