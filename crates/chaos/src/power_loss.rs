//! The power fails: what is left of the file is what was synced, and a torn end.

use std::fs::{self, OpenOptions};
use std::io::Write as _;

use anyhow::{Context, Result, ensure};

use crate::checker::{self, Figures};
use crate::fault::pause;
use crate::journal::Journal;
use crate::load::Load;
use crate::plan::Plan;
use crate::scenario::{Given, SETTLE_MAX, STOP_MAX, rest};
use crate::world::World;
use hookbox_testkit::chance::Chance;

/// How often it fails.
const TIMES: u64 = 3;

const SERVICES: [&str; 2] = ["ingest 1", "worker 1"];

/// Copies the file and its log several times while everybody stands still, tears the end of each
/// log's copy, and goes on from each copy: everything that was answered 200 until then is in it.
///
/// # Errors
/// When an invariant does not hold.
pub fn power_loss(given: &Given<'_>) -> Result<Figures> {
    let mut world = World::new(given.servers, given.pair, &Plan::default())?;
    let mut chance = Chance::new(given.seed);
    world.worker(1, None)?;
    world.ingest(1, None)?;
    let mut load = Load::small(given.seed);
    load.count = 600;
    load.rate = 200;
    let sending = load.start(&world)?;
    for time in 0..TIMES {
        pause(chance.between(400, 900));
        fail(&mut world, time, given.seed, &mut chance)?;
    }
    let (seed, path) = sending.finish(&mut world, SETTLE_MAX)?;
    let mut figures = rest(&mut world, &Journal::read(seed, &path)?)?;
    world.stop(STOP_MAX)?;
    for time in 0..TIMES {
        figures.add(&go_on(&mut world, time, seed).with_context(|| format!("failure {time}"))?);
    }
    Ok(figures)
}

fn fail(world: &mut World, time: u64, seed: u64, chance: &mut Chance) -> Result<()> {
    for name in SERVICES {
        world.node(name).context(name)?.signal("STOP")?;
    }
    for (from, to) in [
        ("hookbox.db".to_owned(), format!("failed-{time}.db")),
        ("hookbox.db-wal".to_owned(), format!("failed-{time}.db-wal")),
        (format!("journal-{seed}"), format!("failed-{time}.journal")),
    ] {
        fs::copy(world.path(&from), world.path(&to)).with_context(|| format!("copying {from}"))?;
    }
    for name in SERVICES {
        world.node(name).context(name)?.signal("CONT")?;
    }
    // A commit that was being written: a frame begun, and not finished. Its length is any.
    let torn: Vec<u8> = (0..chance.between(1, 5_000))
        .map(|_| chance.any().to_le_bytes()[0])
        .collect();
    let log = OpenOptions::new()
        .append(true)
        .open(world.path(&format!("failed-{time}.db-wal")));
    let log = log.and_then(|mut log| log.write_all(&torn));
    log.context("tearing the end of a log")
}

fn go_on(world: &mut World, time: u64, seed: u64) -> Result<Figures> {
    for end in ["db", "db-wal"] {
        let from = world.path(&format!("failed-{time}.{end}"));
        fs::rename(from, world.path(&format!("hookbox.{end}"))).context("restoring")?;
    }
    let shared = world.path("hookbox.db-shm");
    if shared.is_file() {
        fs::remove_file(&shared).context("removing what was shared")?;
    }
    let whole = world.place.sql.rows("pragma integrity_check")?;
    ensure!(
        whole == [["ok"]],
        "I1: the file is damaged after the failure: {whole:?}"
    );
    world.worker(1, None)?;
    let mut journal = Journal::read(seed, &world.path(&format!("failed-{time}.journal")))?;
    journal.is_partial = true;
    let books = world.settle(SETTLE_MAX)?;
    checker::books(&books)?;
    let figures = checker::check(world, &journal)?;
    world.stop(STOP_MAX)?;
    Ok(figures)
}
