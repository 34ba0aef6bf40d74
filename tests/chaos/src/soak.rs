//! Case 84: faults of every kind, drawn from a seed, some of them two at a time, under load for as
//! long as is asked; every minute or so all is healed, comes to rest, and is checked.

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
use crate::world::World;
use hookbox_testkit::chance::Chance;

/// For how long a round sends, roughly: long enough for several faults on top of each other's
/// traces, short enough that a finding is near its cause.
const ROUND: Duration = Duration::from_secs(50);

/// One of so many faults has another strike while it lasts: those that last are half of all.
const ONE_OF: u64 = 2;

/// Requests of the first round, for each ingest; later ones go by what the round before managed.
const FIRST: u32 = 4_000;

/// What a soak has seen.
#[derive(Debug, Default)]
pub struct SoakResult {
    pub figures: Figures,
    pub rounds: u32,
    /// How often each fault was inflicted.
    pub faults: BTreeMap<String, u64>,
    /// How often two struck at a time.
    pub together: u64,
    /// The most that any process used.
    pub used: Used,
}

/// Soaks for so long.
///
/// # Errors
/// When an invariant does not hold.
pub fn run(given: &RunContext<'_>, time: Duration, soaked: &mut SoakResult) -> Result<()> {
    let plan = Plan {
        filter: "info",
        // Of two, one accepts into its spool while the broker is unavailable.
        second_ingest: spool::LINES,
        ..Plan::default()
    };
    let mut world = World::new(given.servers, given.pair, &plan)?;
    let mut chance = Chance::new(given.seed);
    let ingests = match given.pair {
        Pair::RabbitmqPostgres => 2,
        // One process writes into the file for all senders: two would only wait for each other.
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
        count = (per_second * ROUND.as_secs_f64()).clamp(1_000.0, 60_000.0) as u32;
        eprintln!(
            "{:>5} s: round {}, {} accepted in all, {} not, {} effects; {} threads, {} files, \
             {} MiB at most",
            began.elapsed().as_secs(),
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
    // A load that finds no ingest to send to gives up at once: wait until all are up.
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
        // It counts the whole store each time.
        soaked.figures.dead = 0;
        soaked.figures.add(&figures);
        std::fs::remove_file(&path).context("removing a journal that was checked")?;
    }
    soaked.used = soaked.used.most(watch.end()?);
    Ok(accepted)
}

/// One fault, or two of different parts of which the first lasts.
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

/// Inflicts them, the second while the first lasts. Returns which have struck, and for how many
/// milliseconds ingest stood still. The one that ends first is healed first, but a drain is waited
/// for last.
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
    /// Counts those that struck.
    fn note(&mut self, faults: &[Fault], struck: &[bool]) {
        for (fault, struck) in faults.iter().zip(struck) {
            *self.faults.entry(fault.kind()).or_default() += u64::from(*struck);
        }
        self.together += u64::from(struck == [true, true]);
    }
}

/// I3, over all rounds: no event has two effects.
fn whole(world: &World) -> Result<()> {
    for table in ["begini_scores", "begini_applications"] {
        let doubles = world.place.sql.number(&format!(
            "select cast(count(*) as text) from \
             (select event_id from {table} group by event_id having count(*) > 1) d"
        ))?;
        ensure!(
            doubles == 0,
            "I3: {doubles} events have more than one row in {table}"
        );
    }
    Ok(())
}
