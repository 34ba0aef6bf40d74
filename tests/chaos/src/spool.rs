//! Case 24: the broker is unavailable, senders send once only, and ingest is killed five times:
//! what was answered 200 is on the disk of its machine, and has its effect when the broker is back.

use anyhow::{Context, Result, ensure};

use crate::checker::Figures;
use crate::fault::pause;
use crate::journal::Journal;
use crate::load::Load;
use crate::plan::Plan;
use crate::proxy::Mode;
use crate::scenario::{RunContext, SETTLE_MAX, STOP_MAX, rest};
use crate::world::World;

/// How often ingest is killed.
const KILLS: usize = 5;

/// The lines of an ingest that has one.
pub const LINES: &str = "spool = \"sqlite:spool.db\"";

/// Runs it.
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
        let proxy = world.place.to_broker.as_ref().context("no proxy")?;
        proxy.set(mode);
        proxy.cut();
        anyhow::Ok(())
    };
    mode(&world, Mode::Hole)?;
    let before = sending.accepted()?;
    for _ in 0..KILLS {
        pause(2_000);
        world.kill("ingest 1")?;
        // It begins, and takes events, although no broker is there.
        world.answers(1)?;
    }
    let kept = sending.accepted()?.saturating_sub(before);
    ensure!(
        kept > 100,
        "{kept} events were answered 200 while the broker was unavailable"
    );
    mode(&world, Mode::Pass)?;
    let (seed, path) = sending.finish(&mut world, SETTLE_MAX)?;
    let figures = rest(&mut world, &Journal::read(seed, &path)?)?;
    world.stop(STOP_MAX)?;
    Ok(figures)
}

/// The broker stays unavailable until the spool is full: 503 from then on, and nothing that was
/// answered 200 before is lost.
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
    let proxy = world.place.to_broker.as_ref().context("no proxy")?;
    proxy.set(Mode::Hole);
    world.ingest(1, None)?;
    let mut load = Load::small(given.seed);
    // Half of it fits: 16 MiB of events of 700 bytes.
    (load.count, load.retries, load.concurrency) = (40_000, 0, 64);
    let (seed, path) = load.start(&world)?.finish(&mut world, SETTLE_MAX)?;
    let journal = Journal::read(seed, &path)?;
    let refused = journal.answers.get(&503).copied().unwrap_or(0);
    ensure!(refused > 0, "the spool was never full");
    let proxy = world.place.to_broker.as_ref().context("no proxy")?;
    proxy.set(Mode::Pass);
    proxy.cut();
    world.worker(1, None)?;
    let figures = rest(&mut world, &journal)?;
    world.answers(1)?;
    world.stop(STOP_MAX)?;
    Ok(figures)
}
