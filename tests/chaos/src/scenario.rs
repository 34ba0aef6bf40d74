//! The ordinary course of a case: load, faults, healing, rest, and the checker.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::answers;
use crate::checker::{self, Figures};
use crate::effects;
use crate::fault::{Fault, pause};
use crate::journal::Journal;
use crate::load::Load;
use crate::pair::Pair;
use crate::plan::Plan;
use crate::servers::Servers;
use crate::used::{self, Watch};
use crate::world::World;
use hookbox_testkit::chance::Chance;

/// Until everything has drained after the last fault: L of the cases, and what a debug build on
/// two busy cores needs besides.
pub const SETTLE_MAX: Duration = Duration::from_secs(120);

/// A drain may take 20 s by the config's default.
pub const STOP_MAX: Duration = Duration::from_secs(40);

/// Requests a second. Slower where it lasts long, so that what waits after it is soon done.
const RATES: [u32; 2] = [150, 50];

/// In milliseconds. What is sent for so long after the last fault shows that it is over.
const AFTER: u64 = 1_000;

/// What a case is given.
pub struct RunContext<'a> {
    pub servers: &'a Servers,
    pub pair: Pair,
    pub seed: u64,
}

/// One ingest, two workers, a steady load of a few seconds, and faults one after the other.
///
/// # Errors
/// When an invariant does not hold.
pub fn through(given: &RunContext<'_>, faults: &[Fault]) -> Result<Figures> {
    let mut world = World::new(given.servers, given.pair, &Plan::default())?;
    through_in(&mut world, given, faults)
}

/// The same, in a world that is there.
///
/// # Errors
/// When an invariant does not hold.
pub fn through_in(world: &mut World, given: &RunContext<'_>, faults: &[Fault]) -> Result<Figures> {
    let mut chance = Chance::new(given.seed);
    world.worker(1, None)?;
    world.worker(2, None)?;
    world.ingest(1, None)?;
    let before = used::now(&world.living);
    let watch = Watch::over(&world.living)?;
    let mut sending = load(given.seed, faults).start(world)?;
    for fault in faults {
        pause(chance.between(300, 900));
        world.tend(None)?;
        ensure!(!sending.is_over(), "the load was over before {fault:?} was");
        let struck = fault.inflict(world, given.servers, &mut chance)?;
        ensure!(struck, "{fault:?} struck nothing");
        world.tend(None)?;
    }
    pause(AFTER);
    sending.enough()?;
    let (seed, path) = sending.finish(world, SETTLE_MAX)?;
    let journal = Journal::read(seed, &path)?;
    let figures = rest(world, &journal)?;
    let held = faults.iter().map(|fault| fault.holds_ingest()).max();
    answers::are_true(&journal, held.unwrap_or(0))?;
    if faults.iter().any(|fault| fault.is_felt()) {
        answers::some_asked_to_retry(&journal)?;
    }
    if faults.iter().any(|fault| fault.moves_work()) {
        ensure!(
            effects::redelivered(&world.place.sql)? > 0,
            "nothing that was in flight at the frozen worker went to another"
        );
    }
    watch.end()?;
    used::given_back(&world.living, &before)?;
    world.stop(STOP_MAX)?;
    Ok(figures)
}

/// It lasts until all faults are over, however long the tools take that cause them.
fn load(seed: u64, faults: &[Fault]) -> Load {
    // While ingest can accept nothing, senders wait, and few events are sent.
    let accepts = |fault: &&Fault| !fault.is_felt() && !fault.waits_for_words();
    let lasting: u64 = faults.iter().filter(accepts).map(|it| it.lasts()).sum();
    let mut load = Load::endless(seed);
    load.rate = RATES[usize::from(lasting > 20_000)];
    load.concurrency = 16;
    load
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
    world.ended_well()?;
    checker::books(&books)?;
    checker::check(world, journal).with_context(|| {
        format!(
            "reconcile reports {}\n{}",
            serde_json::to_string(&books["routes"]).unwrap_or_default(),
            world.tails()
        )
    })
}
