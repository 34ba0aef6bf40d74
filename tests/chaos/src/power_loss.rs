//! Case 68: the power fails. All synced writes to the SQLite file survive. Of the unsynced writes
//! only those survive that the operating system happened to have written to the disk.

mod disk;

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::checker::{self, Figures};
use crate::fault::pause;
use crate::journal::Journal;
use crate::load::Load;
use crate::plan::Plan;
use crate::scenario::{RunContext, SETTLE_MAX, STOP_MAX, rest};
use crate::world::World;
use disk::{Disk, Files, Survivors};
use hookbox_testkit::chance::Chance;

/// A moment at which the power is assumed to fail. The responses that the client had got by then
/// are kept in a separate journal file.
struct Moment {
    number: usize,
    /// The length, in bytes, that the recording of disk operations has at this moment.
    log: u64,
    /// Which unsynced writes survive.
    left: Survivors,
}

/// Lets the power fail several times under load, and restarts from each state of the disk. Each
/// time a different part of the unsynced writes survives. Every event that was answered 200 before
/// the failure must be in the store.
///
/// # Errors
/// When an invariant does not hold.
pub fn power_loss(given: &RunContext<'_>) -> Result<Figures> {
    let mut world = World::new(given.servers, given.pair, &Plan::default())?;
    let mut chance = Chance::new(given.seed);
    let disk = Disk::under(&mut world)?;
    world.worker(1, None)?;
    world.ingest(1, None)?;
    let mut load = Load::small(given.seed);
    (load.count, load.rate) = (1_000, 150);
    let mut sending = load.start(&world)?;
    let mut moments = Vec::new();
    for (number, left) in Survivors::ALL.into_iter().enumerate() {
        pause(chance.between(700, 1_300));
        ensure!(
            !sending.is_over(),
            "the load must run until the power fails, but it ended before"
        );
        moments.push(fail(&world, &disk, (number, left), given.seed)?);
    }
    let (seed, path) = sending.finish(&mut world, SETTLE_MAX)?;
    let mut figures = rest(&mut world, &Journal::read(seed, &path)?)?;
    world.stop(STOP_MAX)?;
    world.variables.clear();
    for moment in moments {
        let files = disk.failed(&world, moment.log, moment.left, &mut chance)?;
        let more = resume(&mut world, &moment, &files, seed);
        figures.add(&more.with_context(|| {
            format!(
                "power failure {}, with {:?} surviving of {} unsynced writes",
                moment.number, moment.left, files.unsynced
            )
        })?);
    }
    Ok(figures)
}

/// Records the state at this moment as a power failure. It copies the client's journal before it
/// reads the length of the recording. Therefore the recorded disk contains every event that the
/// copied journal lists as accepted.
fn fail(
    world: &World,
    disk: &Disk,
    (number, left): (usize, Survivors),
    seed: u64,
) -> Result<Moment> {
    let seen = fs::read_to_string(world.path(&format!("journal-{seed}")));
    let seen = seen.context("reading the journal")?;
    // The client may still be writing the last line, so that line is left out.
    let whole = seen.rfind('\n').map_or(0, |end| end + 1);
    fs::write(
        world.path(&format!("failed-{number}.journal")),
        &seen[..whole],
    )
    .context("copying the journal")?;
    Ok(Moment {
        number,
        log: disk.moment(world)?,
        left,
    })
}

fn resume(world: &mut World, moment: &Moment, files: &Files, seed: u64) -> Result<Figures> {
    ensure!(
        files.unsynced > 0,
        "some writes must be unsynced at the power failure, or the case shows nothing"
    );
    match moment.left {
        Survivors::Nothing => ensure!(
            files.kept == 0,
            "no unsynced write may survive this power failure, but {} did",
            files.kept
        ),
        Survivors::Everything | Survivors::Torn => {
            ensure!(
                files.kept == files.unsynced,
                "all unsynced writes must survive this power failure, but some did not"
            )
        }
        Survivors::Holes => ensure!(
            0 < files.kept && files.kept < files.unsynced,
            "{} of {} unsynced writes survived, but some must survive and some must be lost",
            files.kept,
            files.unsynced
        ),
    }
    for (name, bytes) in [
        ("hookbox.db", &files.database),
        ("hookbox.db-wal", &files.log),
    ] {
        fs::write(world.path(name), bytes).with_context(|| format!("writing {name}"))?;
    }
    let shared = world.path("hookbox.db-shm");
    if shared.is_file() {
        fs::remove_file(&shared).context("removing the shared-memory file")?;
    }
    let whole = world.place.sql.rows("pragma integrity_check")?;
    ensure!(
        whole == [["ok"]],
        "I1: the SQLite file is damaged after the power failure: {whole:?}"
    );
    world.worker(1, None)?;
    let path = world.path(&format!("failed-{}.journal", moment.number));
    let mut journal = Journal::read(seed, &path)?;
    ensure!(
        journal.accepted > 0,
        "some events must be accepted before the power failure, or the case shows nothing"
    );
    journal.is_partial = true;
    let books = world.settle(SETTLE_MAX)?;
    world.ended_well()?;
    checker::books(&books)?;
    let figures = checker::check(world, &journal)?;
    world.stop(STOP_MAX)?;
    Ok(figures)
}
