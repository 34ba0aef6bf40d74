//! What a case needs to measure one build.

use std::time::Instant;

use anyhow::{Context, Result};
use tokio::runtime::Runtime;

use crate::program::Program;
use crate::servers::Servers;

/// A run of one case on one build.
pub(crate) struct Bench<'a> {
    pub program: &'a Program,
    pub servers: Option<&'a Servers>,
    pub runtime: &'a Runtime,
    /// How often each figure is measured.
    pub runs: usize,
    pub is_quick: bool,
    /// How many events are stored before the measurements with a grown store.
    pub stored: u64,
    /// The time when the case began. Progress messages show how long ago that was.
    pub began: Instant,
    pub case: &'static str,
}

impl<'a> Bench<'a> {
    pub fn servers(&self) -> Result<&'a Servers> {
        self.servers
            .context("this case needs PostgreSQL and RabbitMQ")
    }

    /// Returns how much to send: `full` for a measurement, and `quick` when the bench only checks
    /// that its cases work.
    pub fn amount(&self, full: u64, quick: u64) -> u64 {
        if self.is_quick { quick } else { full }
    }

    /// Reports progress on standard error.
    pub fn say(&self, what: &str) {
        let seconds = self.began.elapsed().as_secs();
        eprintln!("{} ({}), {seconds} s: {what}", self.case, self.program.name);
    }
}
