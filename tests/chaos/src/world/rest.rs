//! Waits until no event of a case is in flight any more, and checks that its processes ended only
//! when the case ended them.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use super::World;

impl World {
    /// Checks that no process has ended with an error, except at a crash point.
    ///
    /// # Errors
    /// When a process has ended with an error.
    pub fn ended_well(&self) -> Result<()> {
        let ends = self.ends.join("; ");
        ensure!(
            ends.is_empty(),
            "a process ended with an error although the case did not end it: {ends}\n{}",
            self.tails()
        );
        Ok(())
    }

    /// Waits until no event is in flight, and returns the report of `hookbox reconcile`. Services
    /// that end meanwhile are restarted.
    ///
    /// # Errors
    /// When events are still in flight after `limit`, or the report shows an imbalance.
    pub fn settle(&mut self, limit: Duration) -> Result<Value> {
        let began = Instant::now();
        loop {
            self.tend(None)?;
            let books = self.json(&["reconcile", "--wait", "20s"]);
            match &books {
                Ok(books) if books["verdict"] == "balanced" => return Ok(books.clone()),
                Ok(books) if books["verdict"] == "imbalanced" => {
                    bail!("I2: reconcile reports an imbalance: {books:#}")
                }
                Ok(_) | Err(_) if began.elapsed() < limit => {}
                Ok(books) => bail!(
                    "I15: all work must be done {} s after the last fault: {books:#}\n{}",
                    limit.as_secs(),
                    self.tails()
                ),
                Err(error) => bail!("I15: `hookbox reconcile` must succeed, but failed: {error:#}"),
            }
        }
    }
}
