//! Everything that does not hold, reported together.

use std::fmt::{self, Display};

use anyhow::Result;

use super::figures::Figures;

/// Findings that are shown at most: the first few show the pattern.
const SHOWN_MAX: usize = 12;

/// What was found.
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

    /// The figures, with the findings where there are any.
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

/// What does not hold, and what was counted all the same.
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

/// What was counted where something did not hold.
pub fn figures_of(error: &anyhow::Error) -> Figures {
    let broken = error.chain().find_map(|cause| cause.downcast_ref());
    broken.map_or_else(Figures::default, |it: &Broken| it.figures)
}
