//! Case 24: the broker is unavailable, senders send each event only once, and ingest is killed five
//! times. Each event that was answered 200 is in the spool of the ingest, and has its effect after
//! the broker has recovered.

use anyhow::{Context, Result, ensure};

use hookbox_testkit::proxy::Mode;

use crate::checker::Figures;
use crate::fault::pause;
use crate::journal::Journal;
use crate::load::Load;
use crate::plan::Plan;
use crate::scenario::{RunContext, SETTLE_MAX, STOP_MAX, rest};
use crate::world::World;

/// The number of times that ingest is killed.
const KILLS: usize = 5;

/// The line under `[ingest]` that configures a spool.
pub const LINES: &str = "spool = \"sqlite:spool.db\"";

/// Kills ingest repeatedly while it accepts events into its spool.
///
/// # Errors
/// When an invariant does not hold.
pub fn spool(given: &RunContext<'_>) -> Result<Figures> {
    let plan = Plan {
        ingest: LINES.to_owned(),
        ..Plan::default()
    };
    let mut world = World::new(given.servers, given.pair, &plan)?;
    world.worker(1, None)?;
    world.ingest(1, None)?;
    let mut load = Load::small(given.seed);
    (load.count, load.rate, load.retries) = (1_200, 60, 0);
    let sending = load.start(&world)?;
    pause(1_000);
    let mode = |world: &World, mode| {
        let proxy = world.place.to_broker.as_ref();
        let proxy = proxy.context("the broker has no proxy in front")?;
        proxy.set(mode);
        proxy.cut();
        anyhow::Ok(())
    };
    mode(&world, Mode::Hole)?;
    let before = sending.accepted()?;
    for _ in 0..KILLS {
        pause(2_000);
        world.kill("ingest 1")?;
        // Ingest starts and becomes ready although the broker is unavailable.
        world.answers(1)?;
    }
    let kept = sending.accepted()?.saturating_sub(before);
    ensure!(
        kept > 100,
        "more than 100 events must be answered 200 while the broker is unavailable, not {kept}"
    );
    mode(&world, Mode::Pass)?;
    let (seed, path) = sending.finish(&mut world, SETTLE_MAX)?;
    let figures = rest(&mut world, &Journal::read(seed, &path)?)?;
    world.stop(STOP_MAX)?;
    Ok(figures)
}

/// Keeps the broker unavailable until the spool is full. From then on requests are answered 503,
/// and no event that was answered 200 before is lost.
///
/// # Errors
/// When an invariant does not hold.
pub fn full_spool(given: &RunContext<'_>) -> Result<Figures> {
    let plan = Plan {
        filter: "info",
        ingest: format!("{LINES}\nspool_max = \"16 MiB\""),
        ..Plan::default()
    };
    let mut world = World::new(given.servers, given.pair, &plan)?;
    let proxy = world.place.to_broker.as_ref();
    let proxy = proxy.context("the broker has no proxy in front")?;
    proxy.set(Mode::Hole);
    world.ingest(1, None)?;
    let mut load = Load::small(given.seed);
    // About half of these events of 700 bytes fit into the 16 MiB that the spool may use.
    (load.count, load.retries, load.concurrency) = (40_000, 0, 64);
    let (seed, path) = load.start(&world)?.finish(&mut world, SETTLE_MAX)?;
    let journal = Journal::read(seed, &path)?;
    let refused = journal.answers.get(&503).copied().unwrap_or(0);
    ensure!(
        refused > 0,
        "the spool must become full, so that some requests are answered 503"
    );
    let proxy = world.place.to_broker.as_ref();
    let proxy = proxy.context("the broker has no proxy in front")?;
    proxy.set(Mode::Pass);
    proxy.cut();
    world.worker(1, None)?;
    let figures = rest(&mut world, &journal)?;
    world.answers(1)?;
    world.stop(STOP_MAX)?;
    Ok(figures)
}
