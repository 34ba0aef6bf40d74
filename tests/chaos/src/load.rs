//! The load of a case: a process of `hookbox generate`. The process acts as a provider that signs
//! requests, sends duplicates and forgeries, and retries requests that were not accepted. It writes
//! each request to a journal. The journal reaches the disk within a tenth of a second.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hookbox_testkit::binary::Process;
use hookbox_testkit::servers::process::wait_until;

use crate::world::World;

/// The number of events in a small load: enough for some of each kind.
const FEW: u32 = 120;

/// The number of events in an endless load: more than can be sent during any case.
const ENDLESS: u32 = 100_000;

/// What a load sends, and where.
#[derive(Debug, Clone)]
pub struct Load {
    /// The number of the ingest to send to, from 1.
    pub ingest: usize,
    pub seed: u64,
    pub count: u32,
    /// How many requests to send per second; 0 stands for as many as possible.
    pub rate: u32,
    pub concurrency: u16,
    /// How many times a request that was not accepted is retried.
    pub retries: u32,
    /// Whether the load sends some events twice, and some other events again with the same identity
    /// and another body.
    pub copies: bool,
}

/// A running load.
pub struct RunningLoad {
    load: Load,
    child: Process,
    seed: u64,
    journal: PathBuf,
    said: PathBuf,
}

impl Load {
    /// Returns a load of a few events of each kind.
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

    /// Returns a load that sends until [`RunningLoad::enough`] is called.
    pub fn endless(seed: u64) -> Self {
        Self {
            count: ENDLESS,
            retries: 1_000,
            ..Self::small(seed)
        }
    }

    /// Starts the process that sends the requests.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(&self, world: &World) -> Result<RunningLoad> {
        let journal = world.path(&format!("journal-{}", self.seed));
        let said = world.path(&format!("generate-{}.err", self.seed));
        let (duplicates, conflicts) = if self.copies { ("5", "2") } else { ("0", "0") };
        let mut command = world.command(&["generate", "--json", "--url", &world.url(self.ingest)]);
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
        command.arg("--journal").arg(&journal);
        let child = Process::start_service(&mut command, &said);
        let child = child.context("starting hookbox generate")?;
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
    /// Returns whether the process has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.ended().is_some()
    }

    /// Returns whether the process has sent a request. It exits without sending one if no ingest
    /// listens at its start.
    fn has_begun(&self) -> bool {
        std::fs::metadata(&self.journal).is_ok_and(|journal| journal.len() > 0)
    }

    /// Returns how many requests of this load were answered with status 200 so far.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn accepted(&self) -> Result<u64> {
        let text = std::fs::read_to_string(&self.journal).context("reading the journal")?;
        let accepted = text.lines().filter(|line| line.contains("\"status\":200"));
        Ok(accepted.count() as u64)
    }

    /// Makes the load send no further requests. Requests that wait for a response still get it.
    ///
    /// # Errors
    /// When the signal cannot be sent.
    pub fn enough(&mut self) -> Result<()> {
        if self.is_over() {
            return Ok(());
        }
        Ok(self.child.signal("INT")?)
    }

    /// Waits until the load has ended, and restarts services that end meanwhile. Returns the seed
    /// and the path of the journal.
    ///
    /// # Errors
    /// When the load has not ended after `limit`.
    pub fn finish(mut self, world: &mut World, limit: Duration) -> Result<(u64, PathBuf)> {
        let began = Instant::now();
        while !(wait_until(Duration::from_millis(200), || self.is_over()) && self.has_begun()) {
            world.tend(None)?;
            if began.elapsed() > limit {
                self.child.kill();
                bail!(
                    "I15: the load has not ended {} s after the last fault:\n{}",
                    limit.as_secs(),
                    world.tails()
                );
            }
            if self.is_over() && !self.has_begun() {
                // The load ended without sending a request, because the ingest was killed before.
                // Another load replaces it. This new load is small even where an endless load
                // ended, because the caller has already stopped the endless load and would not stop
                // another one.
                let few = Load {
                    count: self.load.count.min(FEW),
                    ..self.load.clone()
                };
                self = few.start(world)?;
            }
        }
        let said = std::fs::read_to_string(&self.said).unwrap_or_default();
        match self.child.ended() {
            // Exit code 1 means that some request never got a conclusive response. The case
            // continues, because the journal lists these requests and the checker takes them into
            // account.
            Some(status) if matches!(status.code(), Some(0 | 1)) => {
                Ok((self.seed, self.journal.clone()))
            }
            other => bail!("hookbox generate ended with {other:?}: {said}"),
        }
    }
}
