//! One run of a seed: a phase with faults, a phase without faults, and the check.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::check::check;
use crate::engine::Fleet;
use crate::fault::Faults;
use crate::nemesis;
use crate::pauses;
use crate::scenario::Scenario;
use crate::sender::send;
use crate::summary::Summary;
use crate::target_outages;
use crate::world::World;

/// The virtual time within which all work must drain after the last fault. An event whose handler
/// hangs takes two or three minutes: four attempts that last until the time limit, with a few
/// copies of its message. An event whose handler kills its process takes up to about ten minutes:
/// up to ten kills for each receipt, five seconds apart, and up to a dozen receipts where different
/// bodies are one event. All other events take seconds.
const LIVENESS: Duration = Duration::from_secs(900);

/// How often the run checks whether all work has drained.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How many of the last lines of the trace the report of a failure shows.
const LINES_SHOWN: usize = 60;

/// The result of one run.
#[derive(Debug)]
pub struct RunResult {
    /// The seed of the run.
    pub seed: u64,
    /// The digest of the whole trace: the same for the same seed and build (I20).
    pub digest: u64,
    /// The counts of what happened in the run, such as effects and faults.
    pub summary: Summary,
    /// The broken invariants, or `None` when all held.
    pub failed: Option<Failed>,
    /// The lines of the trace; empty unless the trace was requested.
    pub trace: Vec<String>,
}

/// A run that broke an invariant.
#[derive(Debug)]
pub struct Failed {
    /// The seed of the run.
    pub seed: u64,
    /// The violations. Each begins with the number of its invariant.
    pub violations: Vec<String>,
    /// The last lines of the trace.
    pub lines: Vec<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.lines.len().saturating_sub(LINES_SHOWN);
        for line in &self.lines[from..] {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "seed {} breaks:", self.seed)?;
        for violation in &self.violations {
            writeln!(f, "  {violation}")?;
        }
        let seed = self.seed;
        write!(
            f,
            "repeat it with: cargo run -p hookbox-simulation -- --seed {seed} --trace"
        )
    }
}

/// Runs one seed to its end, in virtual time.
///
/// # Errors
/// When no async runtime can be built.
pub fn run(seed: u64, keep_trace: bool) -> std::io::Result<RunResult> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()?;
    Ok(runtime.block_on(both_phases(seed, keep_trace)))
}

async fn both_phases(seed: u64, keep_trace: bool) -> RunResult {
    let scenario = Arc::new(Scenario::of(seed));
    let faults = Faults::new(scenario.rates.clone());
    let world = World::new(seed, faults, keep_trace);
    let fleet = Fleet::start(&world, &scenario);
    let mut senders = JoinSet::new();
    for post in scenario.posts.clone() {
        senders.spawn(send(Arc::clone(&fleet), post));
    }
    tokio::join!(
        biased;
        nemesis::rage(&fleet),
        pauses::operate(&fleet),
        target_outages::inflict(&fleet),
    );
    let drained = drain(&fleet, &mut senders).await;
    let mut violations = check(&world.state(), &scenario);
    if let Some(what) = drained {
        violations.insert(0, what);
    } else if violations.is_empty() {
        stop(&fleet).await;
        violations = world.state().violations.clone();
    }
    let state = world.state();
    let summary = Summary::of(&state, world.elapsed());
    let failed = (!violations.is_empty()).then(|| Failed {
        seed: scenario.seed,
        violations,
        lines: state.trace.lines(),
    });
    RunResult {
        seed,
        digest: state.trace.digest(),
        summary,
        failed,
        trace: if keep_trace {
            state.trace.lines()
        } else {
            Vec::new()
        },
    }
}

/// Waits until no work is left (I15), and then returns `None`. If work is left after `LIVENESS`,
/// returns a description of that work.
async fn drain(fleet: &Fleet, senders: &mut JoinSet<()>) -> Option<String> {
    let world = &fleet.world;
    let until = Instant::now() + LIVENESS;
    loop {
        while let Some(sent) = senders.try_join_next() {
            if let Err(error) = sent {
                return Some(format!("I15: the task of a sender failed: {error}"));
            }
        }
        let left = {
            let state = world.state();
            let tables = &state.tables;
            let mut left = Vec::new();
            if !senders.is_empty() {
                left.push(format!(
                    "{} senders that still wait for the response 200",
                    senders.len()
                ));
            }
            if state.queues.left() > 0 {
                left.push(state.queues.describe());
            }
            if !tables.retries.is_empty() {
                left.push(format!("{} retries", tables.retries.len()));
            }
            if tables.open_count() > 0 {
                left.push(format!("{} open transactions", tables.open_count()));
            }
            let unreported = tables.accounts.unreported(&state.accepted);
            if unreported > 0 {
                left.push(format!("{unreported} unreported receipts"));
            }
            if !world.later.is_empty() {
                left.push(format!(
                    "{} tasks that the store or the broker still has to run",
                    world.later.len()
                ));
            }
            if !state.violations.is_empty() {
                return None;
            }
            left
        };
        if left.is_empty() {
            world.note("drained");
            return None;
        }
        if Instant::now() >= until {
            let left = left.join("; ");
            return Some(format!(
                "I15: work is left {LIVENESS:?} after the last fault: {left}"
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Asks every process to stop, and waits until all have stopped.
async fn stop(fleet: &Fleet) {
    fleet.stop.cancel();
    fleet.tasks.close();
    let ended = tokio::time::timeout(LIVENESS, async {
        while !fleet.running().is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    });
    if ended.await.is_err() {
        let text = "a process that was asked to stop still runs";
        fleet.world.state().violate("I15", text);
    }
}
