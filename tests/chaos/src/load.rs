//! Load: `hookbox simulate` as a process of its own, a provider that signs, sends duplicates and
//! forgeries, and retries what was not accepted. It writes a journal of every attempt, on disk
//! before the next tenth of a second.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hookbox_testkit::servers::process::wait_until;

use crate::node::signal;
use crate::world::World;

/// A little of everything.
const FEW: u32 = 120;

/// More events than any case lasts for.
const ENDLESS: u32 = 100_000;

/// What to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// To which ingest, from 1.
    pub ingest: usize,
    pub seed: u64,
    pub count: u32,
    /// Requests a second; 0 is as fast as it goes.
    pub rate: u32,
    pub concurrency: u16,
    /// How often one request is sent again.
    pub retries: u32,
    /// Whether some come twice, or with another body under the same identity.
    pub copies: bool,
}

/// A running load.
pub struct RunningLoad {
    load: Load,
    child: Child,
    seed: u64,
    journal: PathBuf,
    said: PathBuf,
}

impl Load {
    /// A little of everything.
    pub fn small(seed: u64) -> Self {
        Self {
            ingest: 1,
            seed,
            count: FEW,
            rate: 0,
            concurrency: 8,
            retries: 100,
            copies: true,
        }
    }

    /// Until it is [enough](RunningLoad::enough).
    pub fn endless(seed: u64) -> Self {
        Self {
            count: ENDLESS,
            retries: 1_000,
            ..Self::small(seed)
        }
    }

    /// Begins to send.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, world: &World) -> Result<RunningLoad> {
        let journal = world.path(&format!("journal-{}", self.seed));
        let said = world.path(&format!("simulate-{}.err", self.seed));
        let (duplicates, conflicts) = if self.copies { ("5", "2") } else { ("0", "0") };
        let mut command = world.command(&["simulate", "--json", "--url", &world.url(self.ingest)]);
        for (name, value) in [
            ("--seed", self.seed.to_string()),
            ("--count", self.count.to_string()),
            ("--rate", self.rate.to_string()),
            ("--concurrency", self.concurrency.to_string()),
            ("--retries", self.retries.to_string()),
            ("--duplicates", duplicates.into()),
            ("--tampered", "2".into()),
            ("--malformed", "2".into()),
            ("--conflicts", conflicts.into()),
            ("--late", "5".into()),
        ] {
            command.args([name, &value]);
        }
        let child = command
            .arg("--journal")
            .arg(&journal)
            .stdout(Stdio::null())
            .stderr(File::create(&said).context("making a file for the output of simulate")?)
            .spawn()
            .context("starting hookbox simulate")?;
        Ok(RunningLoad {
            load: self.clone(),
            child,
            seed: self.seed,
            journal,
            said,
        })
    }
}

impl RunningLoad {
    /// Whether all is sent.
    pub fn is_over(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }

    /// Whether a request was made: when no ingest listens at its start, none is.
    fn has_begun(&self) -> bool {
        std::fs::metadata(&self.journal).is_ok_and(|journal| journal.len() > 0)
    }

    /// How much was answered 200 by now.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn accepted(&self) -> Result<u64> {
        let text = std::fs::read_to_string(&self.journal).context("reading the journal")?;
        let accepted = text.lines().filter(|line| line.contains("\"status\":200"));
        Ok(accepted.count() as u64)
    }

    /// Nothing new is sent from now on; open requests still get their answers.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn enough(&mut self) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        signal(self.child.id(), "INT")
    }

    /// Waits until all is sent, and meanwhile restarts what ends; returns the journal.
    ///
    /// # Errors
    /// When it takes too long.
    pub fn finish(mut self, world: &mut World, limit: Duration) -> Result<(u64, PathBuf)> {
        let began = Instant::now();
        while !(wait_until(Duration::from_millis(200), || self.is_over()) && self.has_begun()) {
            world.tend(None)?;
            if began.elapsed() > limit {
                let _ = self.child.kill();
                bail!(
                    "I15: the load is not through {} s after the last fault:\n{}",
                    limit.as_secs(),
                    world.tails()
                );
            }
            if self.is_over() && !self.has_begun() {
                // The ingest was killed before anything could be sent to it, and by now nothing
                // ends an endless load.
                let few = Load {
                    count: self.load.count.min(FEW),
                    ..self.load.clone()
                };
                self = few.start(world)?;
            }
        }
        let said = std::fs::read_to_string(&self.said).unwrap_or_default();
        match self.child.wait() {
            // It exits with 1 when something was never conclusively answered, which the journal
            // shows, too.
            Ok(status) if matches!(status.code(), Some(0 | 1)) => {
                Ok((self.seed, self.journal.clone()))
            }
            other => bail!("hookbox simulate ended with {other:?}: {said}"),
        }
    }
}

impl Drop for RunningLoad {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
