//! One run: the phase of faults, the phase of calm, and the check.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::check::check;
use crate::engine::Fleet;
use crate::fault::Faults;
use crate::nemesis;
use crate::scenario::Scenario;
use crate::sender::send;
use crate::summary::Summary;
use crate::world::World;

/// How long everything may take to drain once nothing breaks any more. A handler that hangs to
/// its limit at each of four attempts, with a few copies of its message about, takes two or three
/// minutes. One that ends its process does so up to ten times for each receipt of its event, five
/// seconds apart, and a dozen receipts are about where bodies that differ are one event. All else
/// is seconds.
const LIVENESS: Duration = Duration::from_secs(900);

/// How often to check whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How many lines of the trace a failure shows.
const LINES_SHOWN: usize = 60;

/// The result of one run.
#[derive(Debug)]
pub struct RunResult {
    /// Its seed.
    pub seed: u64,
    /// Of everything that happened, in order: the same for the same seed and build (I20).
    pub digest: u64,
    /// What happened, in numbers.
    pub summary: Summary,
    /// What went wrong.
    pub failed: Option<Failed>,
    /// Everything that happened, where it was asked for.
    pub trace: Vec<String>,
}

/// A run that broke an invariant.
#[derive(Debug)]
pub struct Failed {
    /// Its seed.
    pub seed: u64,
    /// Each of them begins with its invariant.
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
            "again: cargo run -p hookbox-simulation -- --seed {seed} --trace"
        )
    }
}

/// Runs one seed to its end, in virtual time.
///
/// # Errors
/// When there is no runtime to be had.
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
    nemesis::rage(&fleet).await;
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

/// I15: waits until nothing is left anywhere. What is left, when that takes too long.
async fn drain(fleet: &Fleet, senders: &mut JoinSet<()>) -> Option<String> {
    let world = &fleet.world;
    let until = Instant::now() + LIVENESS;
    loop {
        while let Some(sent) = senders.try_join_next() {
            if let Err(error) = sent {
                return Some(format!("I15: a sender ended badly: {error}"));
            }
        }
        let left = {
            let state = world.state();
            let tables = &state.tables;
            let mut left = Vec::new();
            if !senders.is_empty() {
                left.push(format!("{} senders without an answer", senders.len()));
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
            let unreported = tables.accounts.unreported(&state);
            if unreported > 0 {
                left.push(format!("{unreported} unreported receipts"));
            }
            if !world.later.is_empty() {
                left.push(format!("{} things on their way", world.later.len()));
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
                "I15: not drained {LIVENESS:?} after the last fault: {left}"
            ));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Asks every process to stop, and waits until it has.
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
