//! Everything that does not hold, told at once.

use anyhow::{Result, bail};

/// Findings that are told at most: the first few show the pattern.
const TOLD_MAX: usize = 12;

/// What was found.
#[derive(Default)]
pub(super) struct Findings {
    told: Vec<String>,
    more: usize,
}

impl Findings {
    pub(super) fn tell(&mut self, what: String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        } else {
            self.more += 1;
        }
    }

    pub(super) fn end(self) -> Result<()> {
        if self.told.is_empty() {
            return Ok(());
        }
        let more = match self.more {
            0 => String::new(),
            more => format!("\nand {more} more"),
        };
        bail!("{}{more}", self.told.join("\n"))
    }
}
