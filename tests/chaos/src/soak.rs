//! Case 84, the soak: faults of every kind, drawn from a seed, strike under load for as long as
//! requested, some of them two at a time. About every minute all faults are healed, all work
//! drains, and the checker runs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::answers;
use crate::checker::Figures;
use crate::fault::{self, Fault, pause};
use crate::journal::Journal;
use crate::load::{Load, RunningLoad};
use crate::pair::Pair;
use crate::plan::Plan;
use crate::scenario::{RunContext, SETTLE_MAX, STOP_MAX, rest};
use crate::spool;
use crate::used::{Used, Watch};
use crate::user_route::UserRoutes;
use crate::world::World;
use hookbox_testkit::chance::Chance;

/// The approximate duration of the load between two runs of the checker, which is one round of the
/// soak. This duration is long enough for several faults, and short enough for a finding to be near
/// its cause.
const ROUND: Duration = Duration::from_secs(50);

/// During a fault that has a duration, a second fault is inflicted once in this many times on
/// average. About half of all faults have a duration.
const ONE_OF: u64 = 2;

/// The number of requests to each ingest in the first round. A later round sends as many requests
/// as take about [`ROUND`] at the rate of the previous round.
const FIRST: u32 = 1_500;

/// What a soak has counted since its start.
#[derive(Debug, Default)]
pub struct SoakResult {
    pub figures: Figures,
    pub rounds: u32,
    /// The number of times that each fault struck (disturbed what it affects).
    pub faults: BTreeMap<String, u64>,
    /// The number of times that two faults struck at the same time.
    pub together: u64,
    /// The most threads, open files and memory that any process used.
    pub used: Used,
}

/// Runs a soak for this long.
///
/// # Errors
/// When an invariant does not hold.
pub fn run(given: &RunContext<'_>, time: Duration, soaked: &mut SoakResult) -> Result<()> {
    let plan = Plan {
        filter: "info",
        // The second ingest has a spool, and accepts events while the broker is unavailable.
        second_ingest: spool::LINES,
        // A worker may be frozen for longer than the time limit of a call, because it may resume
        // only after another fault was healed.
        user_routes: UserRoutes {
            call_limit: "10 s",
            may_time_out: true,
            ..UserRoutes::on(given.pair)
        },
        ..Plan::default()
    };
    let mut world = World::new(given.servers, given.pair, &plan)?;
    let mut chance = Chance::new(given.seed);
    let ingests = match given.pair {
        Pair::RabbitmqPostgres => 2,
        // On SQLite there is one ingest only, because two would just wait for each other's writes.
        Pair::Sqlite => 1,
    };
    world.worker(1, None)?;
    world.worker(2, None)?;
    for number in 1..=ingests {
        world.ingest(number, None)?;
    }
    let (began, mut count) = (Instant::now(), FIRST);
    while began.elapsed() < time {
        for number in 1..=ingests {
            world.answers(number)?;
        }
        let round = Instant::now();
        let loads = (1..=ingests).map(|ingest| {
            let load = Load {
                ingest,
                seed: chance.any() >> 8,
                count,
                rate: 0,
                concurrency: 24,
                retries: 1_000,
                copies: true,
            };
            load.start(&world)
        });
        let loads = loads.collect::<Result<Vec<_>>>()?;
        let ended = one_round(given, &mut world, &mut chance, loads, soaked);
        let accepted = ended.with_context(|| format!("round {}", soaked.rounds + 1))?;
        soaked.rounds += 1;
        let each = accepted / ingests as u64;
        let per_second = each as f64 / round.elapsed().as_secs_f64();
        count = (per_second * ROUND.as_secs_f64()).clamp(500.0, 60_000.0) as u32;
        eprintln!(
            "{:>5} s, {}: round {}, {} accepted in all, {} not, {} effects; at most {} threads, \
             {} files, {} MiB",
            began.elapsed().as_secs(),
            given.pair,
            soaked.rounds,
            soaked.figures.accepted,
            soaked.figures.unanswered,
            soaked.figures.effects,
            soaked.used.threads,
            soaked.used.files,
            soaked.used.memory,
        );
    }
    whole(&world)?;
    world.stop(STOP_MAX)
}

fn one_round(
    given: &RunContext<'_>,
    world: &mut World,
    chance: &mut Chance,
    mut loads: Vec<RunningLoad>,
    soaked: &mut SoakResult,
) -> Result<u64> {
    let watch = Watch::over(&world.living)?;
    // A load that finds no ingest to send to ends at once. The first fault therefore waits until
    // all loads have started.
    pause(2_000);
    let mut held = 0;
    while loads.iter_mut().any(|load| !load.is_over()) {
        let faults = some(given, chance);
        let (struck, stood_still) = strike(given, world, chance, &faults)?;
        soaked.note(&faults, &struck);
        held = held.max(stood_still);
        world.tend(None)?;
        pause(chance.between(500, 4_000));
        world.tend(None)?;
    }
    let mut accepted = 0;
    for load in loads {
        let (seed, path) = load.finish(world, SETTLE_MAX)?;
        let journal = Journal::read(seed, &path)?;
        accepted += journal.accepted;
        let figures = rest(world, &journal)?;
        answers::are_true(&journal, held)?;
        // The checker runs after each round of the soak and counts the dead letters of the whole
        // store. Therefore its new count replaces the earlier one and is not added to it.
        soaked.figures.dead = 0;
        soaked.figures.add(&figures);
        std::fs::remove_file(&path).context("removing the journal of a round that was checked")?;
    }
    world.targets.forget();
    soaked.used = soaked.used.most(watch.end()?);
    Ok(accepted)
}

/// Draws one fault at random. If this fault has a duration, a second fault that affects another
/// part may be drawn.
fn some(given: &RunContext<'_>, chance: &mut Chance) -> Vec<Fault> {
    let all = fault::all(given.pair);
    let first = *chance.one_of(all);
    let others: Vec<Fault> = all
        .iter()
        .filter(|other| other.part() != first.part())
        .copied()
        .collect();
    if first.lasts() > 0 && chance.between(1, ONE_OF) == 1 {
        vec![first, *chance.one_of(&others)]
    } else {
        vec![first]
    }
}

/// Inflicts one or two faults, the second while the first lasts. Returns for each fault whether it
/// struck, and for how many milliseconds an ingest was stopped. The fault that ends first is healed
/// first. A process that drains is waited for last.
fn strike(
    given: &RunContext<'_>,
    world: &mut World,
    chance: &mut Chance,
    faults: &[Fault],
) -> Result<(Vec<bool>, u64)> {
    let mut begun = Vec::new();
    for (place, fault) in faults.iter().enumerate() {
        if place > 0 {
            pause(chance.between(0, 1_000));
        }
        begun.push((place, fault.begin(world, given.servers, chance)?));
    }
    begun.sort_by_key(|(_, begun)| (begun.ends_on_request(), begun.left()));
    let (mut struck, mut held) = (vec![false; faults.len()], 0);
    for (place, one) in begun {
        one.last(world)?;
        held = held.max(one.has_held_ingest());
        struck[place] = one.heal(world, given.servers)?;
    }
    Ok((struck, held))
}

impl SoakResult {
    /// Counts the faults that struck.
    fn note(&mut self, faults: &[Fault], struck: &[bool]) {
        for (fault, struck) in faults.iter().zip(struck) {
            *self.faults.entry(fault.kind()).or_default() += u64::from(*struck);
        }
        self.together += u64::from(struck == [true, true]);
    }
}

/// Checks after the last round of the soak that no event of any of its rounds has two effects
/// (invariant I3).
fn whole(world: &World) -> Result<()> {
    for table in ["begini_scores", "begini_applications", "chaos_sql"] {
        let doubles = world.place.sql.number(&format!(
            "select cast(count(*) as text) from \
             (select event from {table} group by event having count(*) > 1) d"
        ))?;
        ensure!(
            doubles == 0,
            "I3: {doubles} events have more than one row in {table}"
        );
    }
    Ok(())
}
