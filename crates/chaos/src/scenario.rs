//! The ordinary course of a case: load, faults, healing, rest, and the checker.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::checker::{self, Figures};
use crate::fault::{Fault, pause};
use crate::journal::Journal;
use crate::load::Load;
use crate::pair::Pair;
use crate::plan::Plan;
use crate::servers::Servers;
use crate::world::World;
use hookbox_testkit::chance::Chance;

/// Until everything has drained after the last fault: L of the cases, and what a debug build on
/// two busy cores needs besides.
pub const SETTLE_MAX: Duration = Duration::from_secs(120);

/// A drain may take 20 s by the config's default.
pub const STOP_MAX: Duration = Duration::from_secs(40);

/// More threads than before the faults, that are no leak: pools grow to their bounds.
const THREADS_MORE_MAX: usize = 12;

/// More open files than before the faults, that are no leak: connections of the load and pools.
const FILES_MORE_MAX: usize = 64;

/// What a case is given.
pub struct Given<'a> {
    pub servers: &'a Servers,
    pub pair: Pair,
    pub seed: u64,
}

/// One ingest, two workers, a steady load of a few seconds, and faults one after the other.
///
/// # Errors
/// When an invariant does not hold.
pub fn through(given: &Given<'_>, faults: &[Fault]) -> Result<Figures> {
    let mut world = World::new(given.servers, given.pair, &Plan::default())?;
    through_in(&mut world, given, faults)
}

/// The same, in a world that is there.
///
/// # Errors
/// When an invariant does not hold.
pub fn through_in(world: &mut World, given: &Given<'_>, faults: &[Fault]) -> Result<Figures> {
    let mut chance = Chance::new(given.seed);
    world.worker(1, None)?;
    world.worker(2, None)?;
    world.ingest(1, None)?;
    let before = world.node("ingest 1").and_then(|node| node.resources());
    let mut load = Load::small(given.seed);
    load.count = 150 + 300 * u32::try_from(faults.len()).unwrap_or(1);
    load.rate = 150;
    load.concurrency = 16;
    let sending = load.start(world)?;
    for fault in faults {
        pause(chance.between(300, 900));
        fault.inflict(world, given.servers, &mut chance)?;
        world.tend(None)?;
    }
    let (seed, path) = sending.finish(world, SETTLE_MAX)?;
    let figures = rest(world, &Journal::read(seed, &path)?)?;
    bounded(world, before)?;
    world.stop(STOP_MAX)?;
    Ok(figures)
}

/// Waits for rest, and checks everything.
///
/// # Errors
/// When an invariant does not hold.
pub fn rest(world: &mut World, journal: &Journal) -> Result<Figures> {
    ensure!(
        journal.accepted > 0,
        "nothing was accepted, so nothing was shown"
    );
    let books = world.settle(SETTLE_MAX)?;
    checker::books(&books)?;
    checker::check(world, journal).with_context(|| {
        format!(
            "the books say {}\n{}",
            serde_json::to_string(&books["routes"]).unwrap_or_default(),
            world.tails()
        )
    })
}

/// I14: nothing has leaked from an ingest that lived through it.
fn bounded(world: &mut World, before: Option<(usize, usize)>) -> Result<()> {
    let Some(before) = before else {
        return Ok(());
    };
    let began = Instant::now();
    loop {
        let now = world.node("ingest 1").and_then(|node| node.resources());
        let Some(now) = now else {
            return Ok(());
        };
        let threads = now.0 <= before.0 + THREADS_MORE_MAX;
        if threads && now.1 <= before.1 + FILES_MORE_MAX {
            return Ok(());
        }
        ensure!(
            began.elapsed() < Duration::from_secs(30),
            "I14: ingest had {} threads and {} open files before, and has {} and {}",
            before.0,
            before.1,
            now.0,
            now.1
        );
        pause(500);
    }
}
