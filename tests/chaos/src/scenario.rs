//! The ordinary course of a case: a load runs, faults strike and are healed, all work drains, and
//! the checker runs.

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

/// The time within which all work must drain after the last fault, with a margin for a debug build
/// on two busy cores.
pub const SETTLE_MAX: Duration = Duration::from_secs(120);

/// The time within which services must stop. A drain may take 20 s by default.
pub const STOP_MAX: Duration = Duration::from_secs(40);

/// How many requests the load sends per second in a short case, and in a long one. A long case has
/// the slower rate, so that its backlog stays small and is soon processed after the faults.
const RATES: [u32; 2] = [150, 50];

/// The time in milliseconds for which the load continues after the last fault.
const AFTER: u64 = 1_000;

/// The servers, the pair of broker and store, and the seed of a case.
pub struct RunContext<'a> {
    pub servers: &'a Servers,
    pub pair: Pair,
    pub seed: u64,
    /// Whether the case runs in CI, where it must be short.
    pub is_quick: bool,
}

/// Runs one ingest and two workers under a steady load, and inflicts the faults one after the
/// other.
///
/// # Errors
/// When an invariant does not hold.
pub fn through(given: &RunContext<'_>, faults: &[Fault]) -> Result<Figures> {
    let mut world = World::new(given.servers, given.pair, &Plan::default())?;
    through_in(&mut world, given, faults)
}

/// Does the same as [`through`] with a `World` (config, servers and processes of a case) that
/// exists already.
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
        ensure!(
            !sending.is_over(),
            "the load must run until {fault:?} is over, but it ended before"
        );
        let struck = fault.inflict(world, given.servers, &mut chance)?;
        ensure!(
            struck,
            "{fault:?} must disturb hookbox, or the case shows nothing"
        );
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
            "the messages in flight at the frozen worker must go to the other worker, but none did"
        );
    }
    watch.end()?;
    used::given_back(&world.living, &before)?;
    world.stop(STOP_MAX)?;
    Ok(figures)
}

/// Returns a load that does not end by itself, because inflicting the faults may take any time.
fn load(seed: u64, faults: &[Fault]) -> Load {
    // A long case gets the slower of the two rates. Only the faults during which ingest accepts
    // events count towards the length of the case. During the other faults senders wait, so few
    // events are added to the backlog.
    let accepts = |fault: &&Fault| !fault.is_felt() && !fault.waits_for_words();
    let lasting: u64 = faults.iter().filter(accepts).map(|it| it.lasts()).sum();
    let mut load = Load::endless(seed);
    load.rate = RATES[usize::from(lasting > 20_000)];
    load.concurrency = 16;
    load
}

/// Waits until all work has drained, and runs the checker.
///
/// # Errors
/// When an invariant does not hold.
pub fn rest(world: &mut World, journal: &Journal) -> Result<Figures> {
    rest_within(world, journal, SETTLE_MAX)
}

/// Does the same as [`rest`], but all work must drain within `limit`.
///
/// # Errors
/// When an invariant does not hold.
pub fn rest_within(world: &mut World, journal: &Journal, limit: Duration) -> Result<Figures> {
    ensure!(
        journal.accepted > 0,
        "some events must be accepted, or the case shows nothing"
    );
    let books = world.settle(limit)?;
    world.ended_well()?;
    world.targets.gather()?;
    checker::books(&books)?;
    checker::check(world, journal).with_context(|| {
        format!(
            "the accounting that reconcile reported: {}\n{}",
            serde_json::to_string(&books["routes"]).unwrap_or_default(),
            world.tails()
        )
    })
}
