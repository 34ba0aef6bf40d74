//! A world that comes to rest.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use super::World;

impl World {
    /// Nothing has ended that was not made to.
    ///
    /// # Errors
    /// When something has.
    pub fn ended_well(&self) -> Result<()> {
        let ends = self.ends.join("; ");
        ensure!(ends.is_empty(), "ended by itself: {ends}\n{}", self.tails());
        Ok(())
    }

    /// Waits until nothing is in flight, and returns the report of `reconcile`. Whatever ends
    /// meanwhile is started again.
    ///
    /// # Errors
    /// When they do not come to rest in time, or do not balance.
    pub fn settle(&mut self, limit: Duration) -> Result<Value> {
        let began = Instant::now();
        loop {
            self.tend(None)?;
            let books = self.json(&["reconcile", "--wait", "20s"]);
            match &books {
                Ok(books) if books["verdict"] == "balanced" => return Ok(books.clone()),
                Ok(books) if books["verdict"] == "imbalanced" => {
                    bail!("I2: the books do not balance: {books:#}")
                }
                Ok(_) | Err(_) if began.elapsed() < limit => {}
                Ok(books) => bail!(
                    "I15: not at rest {} s after the last fault: {books:#}\n{}",
                    limit.as_secs(),
                    self.tails()
                ),
                Err(error) => bail!("I15: the books cannot be read: {error:#}"),
            }
        }
    }
}
