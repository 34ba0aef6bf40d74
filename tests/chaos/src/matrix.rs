//! The crash-point matrix. A crash point is a named place in the code at which a hookbox process
//! can end itself. Each crash point is tested on every pair of broker and store that has it: once
//! with a process that ends when it passes the point for the first time, and once with the second
//! time. The checker runs after each crash.

mod cell;

pub use cell::Cell;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hookbox_crash::CRASH_AT;

use self::cell::Actor;
use crate::case::Layer;
use crate::checker::{Figures, figures_of};
use crate::effects;
use crate::fault::pause;
use crate::journal::Journal;
use crate::load::Load;
use crate::outcome::{CaseResult, Verdict};
use crate::plan::Plan;
use crate::scenario::{STOP_MAX, rest};
use crate::servers::Servers;
use crate::user_route::UserRoute;
use crate::world::World;
use hookbox_testkit::proxy::Mode;

/// The most tries of a crash point that lies between the storing of an event and the answer to its
/// request. One try may not be enough: an accept report passes the same crash points as an event,
/// so the process may crash at a report, before it has stored an event.
const STORED_TRIES: u32 = 3;

/// The difference between the seeds of two tries of the same crash point. Each load of a try uses
/// the try's seed plus the number of the load. A try has far fewer loads than this number, so no
/// two tries use the same seed.
const SEEDS_OF_A_TRY: u64 = 1 << 20;

/// The number of threads, each of which runs crash points in a `World` (servers, files and
/// processes of a case) of its own. There are more threads than cores, because a thread mostly
/// waits, on SQLite for the 15 s of a lease: six threads kept two cores only half busy.
const THREADS: usize = 10;

/// The time within which a process under load must reach its crash point, and within which a single
/// load must end.
const REACHED_MAX: Duration = Duration::from_secs(90);

/// Runs these cells (crash points on a pair of broker and store) in several threads, and records
/// each result as soon as it is known.
pub fn run(servers: &Servers, cells: Vec<Cell>, seed: u64, record: &(dyn Fn(CaseResult) + Sync)) {
    let left = Mutex::new(VecDeque::from(cells));
    // The cells are sorted by their pair. Half of the threads take them from the back, so that
    // cells on SQLite, which mostly wait, run beside cells on servers, which need processor time.
    let next = |from_the_front: bool| {
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        if from_the_front {
            left.pop_front()
        } else {
            left.pop_back()
        }
    };
    thread::scope(|scope| {
        for number in 0..THREADS {
            let next = &next;
            scope.spawn(move || {
                let mut runner = CellRunner::default();
                while let Some(cell) = next(number % 2 == 0) {
                    record(runner.run(servers, cell, seed));
                }
            });
        }
    });
}

/// Runs cells (crash points on a pair of broker and store) one after the other. It uses the same
/// `World` (servers, files and processes) again as long as all cells in it succeed.
#[derive(Default)]
struct CellRunner {
    worlds: Vec<World>,
}

impl CellRunner {
    fn run(&mut self, servers: &Servers, cell: Cell, seed: u64) -> CaseResult {
        let began = Instant::now();
        let ran = self.crash(servers, &cell, cell.mixed(seed));
        let seconds = began.elapsed().as_secs_f32();
        if ran.is_err() {
            // A failed cell leaves traces in its `World`. Therefore the next cell gets a new one.
            self.worlds.retain(|world| !is_for(world, &cell));
        }
        CaseResult {
            case: cell.name(),
            layer: Layer::Crashes,
            pair: Some(cell.pair),
            seed,
            seconds,
            figures: ran.as_ref().map_or_else(figures_of, |figures| *figures),
            verdict: Verdict::of(ran.map(drop)),
        }
    }

    fn crash(&mut self, servers: &Servers, cell: &Cell, seed: u64) -> Result<Figures> {
        match cell.actor() {
            Actor::Migrator => return migrator(servers, cell, seed),
            Actor::Spool => return spool(servers, cell, seed),
            Actor::Ingest | Actor::Worker | Actor::Draining(_) | Actor::Operator => {}
        }
        if !self.worlds.iter().any(|world| is_for(world, cell)) {
            self.worlds
                .push(World::new(servers, cell.pair, &plan(cell))?);
        }
        let world = self.worlds.iter_mut().find(|world| is_for(world, cell));
        let world = world.context("finding the `World` of a cell")?;
        let mut figures = Figures::default();
        for try_number in 0..STORED_TRIES {
            let seed = seed + u64::from(try_number) * SEEDS_OF_A_TRY;
            let more = match cell.actor() {
                Actor::Operator => operator(world, cell, seed),
                _ => by_load(world, cell, seed),
            }?;
            world.stop(STOP_MAX)?;
            figures.add(&more);
            if !cell.is_after_storing() || figures.stored_unanswered > 0 {
                return Ok(figures);
            }
        }
        bail!(
            "I1: in {STORED_TRIES} tries no event was stored before ingest crashed at {}",
            cell.crash()
        )
    }
}

/// Returns whether a `World` has the routes that this cell needs, and no others.
fn is_for(world: &World, cell: &Cell) -> bool {
    let has_calls = world.targets.routes().has(UserRoute::Forward);
    world.pair == cell.pair && has_calls == cell.is_external()
}

/// Returns the settings of the `World` that this cell needs.
fn plan(cell: &Cell) -> Plan {
    let mut plan = Plan::default();
    if cell.is_external() {
        plan.user_routes.all = &[UserRoute::Forward];
    }
    plan
}

/// Starts an ingest and a worker, and sends events until processes have crashed at the crash point
/// as often as the cell needs.
fn by_load(world: &mut World, cell: &Cell, seed: u64) -> Result<Figures> {
    let crash = cell.crash();
    world.crashes = 0;
    let is = |actor| (cell.actor() == actor).then_some(crash.as_str());
    world.worker(
        1,
        is(Actor::Worker).or_else(|| is(Actor::Draining("worker 1"))),
    )?;
    world.ingest(
        1,
        is(Actor::Ingest).or_else(|| is(Actor::Draining("ingest 1"))),
    )?;
    let wanted = wanted(cell);
    let (mut figures, mut round, began) = (Figures::default(), 0, Instant::now());
    while world.crashes < wanted || round == 0 {
        ensure!(
            began.elapsed() < REACHED_MAX,
            "the crash point {crash} was reached {} times, not {wanted} times\n{}",
            world.crashes,
            world.tails()
        );
        // The ingest may have crashed during the previous load, and may not be ready again yet.
        world.answers(1)?;
        let mut load = Load::small(seed + round);
        if cell.is_after_storing() && world.crashes < wanted {
            // The load retries no request. A retry would be accepted after the restart of the
            // ingest, and would hide whether the event of the unanswered request was stored.
            (load.retries, load.rate, load.copies) = (0, 40, false);
        }
        let mut sending = load.start(world)?;
        while !sending.is_over() {
            if let Actor::Draining(name) = cell.actor()
                && world.crashes < wanted
            {
                drain(world, name, &crash, wanted)?;
            }
            world.tend(None)?;
            pause(20);
        }
        let (seed, path) = sending.finish(world, REACHED_MAX)?;
        figures.add(&rest(world, &Journal::read(seed, &path)?)?);
        round += 1;
    }
    Ok(figures)
}

/// Returns how often a process must crash at the crash point of this cell.
fn wanted(cell: &Cell) -> usize {
    match cell.actor() {
        Actor::Draining(_) | Actor::Migrator | Actor::Operator => cell.time.into(),
        Actor::Ingest | Actor::Worker | Actor::Spool => 1,
    }
}

/// Sends SIGTERM to a service and waits for its end, which should be a crash during the drain. A
/// service that has hardly started has nothing to drain, so it does not crash. The caller then
/// calls this function again.
fn drain(world: &mut World, name: &str, crash: &str, wanted: usize) -> Result<()> {
    pause(700);
    let node = world
        .node(name)
        .context("finding the service that must drain")?;
    node.signal("TERM")?;
    let ended = node.wait(STOP_MAX);
    ensure!(ended.is_some(), "{name} still runs after SIGTERM");
    let crashed = usize::from(node.crashed());
    let again = world.crashes + crashed < wanted;
    world.tend(again.then_some(crash))
}

fn migrator(servers: &Servers, cell: &Cell, seed: u64) -> Result<Figures> {
    let mut world = World::bare(servers, cell.pair, &Plan::default())?;
    for _ in 0..cell.time {
        crashes(&world, &["migrate"], &cell.crash())?;
    }
    world.must(&["migrate"])?;
    effects::unguard(&world.place.sql)?;
    world.worker(1, None)?;
    world.ingest(1, None)?;
    let sending = Load::small(seed).start(&world)?;
    let (seed, path) = sending.finish(&mut world, REACHED_MAX)?;
    let figures = rest(&mut world, &Journal::read(seed, &path)?)?;
    world.stop(STOP_MAX)?;
    Ok(figures)
}

/// Makes dead letters, replays them with a command that crashes half way, and replays the remaining
/// ones.
fn operator(world: &mut World, cell: &Cell, seed: u64) -> Result<Figures> {
    world.worker(1, None)?;
    world.ingest(1, None)?;
    let sending = Load::small(seed).start(world)?;
    let (seed, path) = sending.finish(world, REACHED_MAX)?;
    let journal = Journal::read(seed, &path)?;
    rest(world, &journal)?;
    let replay = ["dead", "replay", "--reason", "schema_broken", "--yes"];
    for _ in 0..cell.time {
        crashes(world, &replay, &cell.crash())?;
        rest(world, &journal)?;
    }
    world.must(&replay)?;
    rest(world, &journal)
}

/// Runs a hookbox command that must end itself at the crash point in `crash`.
fn crashes(world: &World, arguments: &[&str], crash: &str) -> Result<()> {
    use std::os::unix::process::ExitStatusExt as _;
    let output = world.command(arguments).env(CRASH_AT, crash).output();
    let output = output.context("running hookbox")?;
    if output.status.signal().is_none() {
        bail!(
            "hookbox {} must crash at {crash}, but ended with {}: {}{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

fn spool(servers: &Servers, cell: &Cell, seed: u64) -> Result<Figures> {
    let plan = Plan {
        ingest: crate::spool::LINES.to_owned(),
        ..Plan::default()
    };
    let mut world = World::new(servers, cell.pair, &plan)?;
    let crash = cell.crash();
    world.worker(1, None)?;
    world.ingest(1, Some(&crash))?;
    let mode = |world: &World, mode| {
        let proxy = world.place.to_broker.as_ref();
        let proxy = proxy.context("the broker has no proxy in front")?;
        proxy.set(mode);
        proxy.cut();
        anyhow::Ok(())
    };
    let (mut figures, began) = (Figures::default(), Instant::now());
    for round in 0.. {
        world.answers(1)?;
        mode(&world, Mode::Hole)?;
        let mut load = Load::small(seed + round);
        load.rate = 40;
        let mut sending = load.start(&world)?;
        let away = Instant::now();
        while !sending.is_over() && away.elapsed() < Duration::from_secs(6) {
            world.tend(None)?;
            pause(50);
        }
        mode(&world, Mode::Pass)?;
        let (seed, path) = sending.finish(&mut world, REACHED_MAX)?;
        figures.add(&rest(&mut world, &Journal::read(seed, &path)?)?);
        if world.crashes > 0 {
            break;
        }
        ensure!(
            began.elapsed() < REACHED_MAX,
            "the crash point {crash} was never reached\n{}",
            world.tails()
        );
    }
    world.stop(STOP_MAX)?;
    Ok(figures)
}
