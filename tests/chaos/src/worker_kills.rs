//! Case 85: workers are killed repeatedly, as by `kill -9`, while events go through each handler
//! that a user configures: `sql`, `forward` and `publish`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hookbox_testkit::chance::Chance;
use hookbox_testkit::servers::process::wait_until;

use crate::checker::Figures;
use crate::fault::pause;
use crate::journal::{Class, Journal};
use crate::load::Load;
use crate::plan::Plan;
use crate::scenario::{RunContext, SETTLE_MAX, STOP_MAX, rest_within};
use crate::targets::ServiceMode;
use crate::user_route::{UserRoute, UserRoutes};
use crate::world::World;

/// The smallest number of valid events that are sent. The load also has events that are altered or
/// malformed, about 4 in 100.
const EVENTS: u32 = 5_000;

/// The smallest number of valid events in CI.
const EVENTS_QUICK: u32 = 500;

/// How many requests are sent per second. At this rate most events are processed while the load
/// still runs, and so are in flight at some kill.
const RATE: u32 = 100;

/// How long the service takes for each call: long enough that calls are in flight at each kill.
const CALL: Duration = Duration::from_millis(150);

/// How long the service takes for each call in CI. This is longer than `CALL`, because CI has few
/// kills.
const CALL_QUICK: Duration = Duration::from_secs(1);

/// The workers of the case.
const WORKERS: [&str; 2] = ["worker 1", "worker 2"];

/// The longest time for which a later kill waits until the service has received another call. A
/// busy machine takes seconds to start a worker.
const CALLED_WITHIN: Duration = Duration::from_secs(10);

/// The shortest and the longest time between two kills, in milliseconds. There are two workers, so
/// each of them lives for about twice as long.
const BETWEEN_KILLS: (u64, u64) = (1_500, 3_500);

/// The shortest and the longest time between two kills in CI, where the load lasts for five
/// seconds.
const BETWEEN_KILLS_QUICK: (u64, u64) = (600, 1_400);

/// For how long workers are killed again and again. A lease ends 22 s after it began, so within
/// this time at most three leases of one event end without an outcome. A fourth such lease would
/// make the event a dead letter.
const KILLS_MAX: Duration = Duration::from_secs(55);

/// The smallest number of kills with which the case counts as run.
const KILLS_LEAST: u32 = 3;

/// Sends events through all user routes while the workers are killed.
///
/// # Errors
/// When an invariant does not hold.
pub fn worker_kills(given: &RunContext<'_>) -> Result<Figures> {
    let plan = Plan {
        filter: "info",
        user_routes: UserRoutes {
            concurrency: 256,
            ..UserRoutes::on(given.pair)
        },
        ..Plan::default()
    };
    let mut world = World::new(given.servers, given.pair, &plan)?;
    // The service answers no call before the first kill. So when the first call has arrived, the
    // worker that made it has a call in flight, and is one of the two that are killed then.
    world.targets.set(ServiceMode::Unresponsive);
    world.worker(1, None)?;
    world.worker(2, None)?;
    world.ingest(1, None)?;
    let mut load = Load::small(given.seed);
    load.count = events(given) + events(given) / 20;
    (load.rate, load.concurrency) = (RATE, 16);
    let (shortest, longest) = if given.is_quick {
        BETWEEN_KILLS_QUICK
    } else {
        BETWEEN_KILLS
    };
    let mut sending = load.start(&world)?;
    ensure!(
        wait_until(SETTLE_MAX, || world.targets.requests() > 0),
        "the service must receive a call of `forward` before the first kill"
    );
    let (mut chance, mut kills, began) = (Chance::new(given.seed), 0, Instant::now());
    for worker in WORKERS {
        kills += u32::from(world.kill(worker)?);
    }
    let call = if given.is_quick { CALL_QUICK } else { CALL };
    world.targets.set(ServiceMode::Slow(call));
    while (!sending.is_over() || kills < KILLS_LEAST) && began.elapsed() < KILLS_MAX {
        let before = world.targets.requests();
        pause(chance.between(shortest, longest));
        wait_until(CALLED_WITHIN, || world.targets.requests() != before);
        kills += u32::from(world.kill(chance.one_of::<&str>(&WORKERS))?);
    }
    // The drain takes long, because each event goes through three or four routes in a debug build.
    let drain_max = if given.is_quick {
        SETTLE_MAX
    } else {
        3 * SETTLE_MAX
    };
    let (seed, path) = sending.finish(&mut world, drain_max)?;
    let journal = Journal::read(seed, &path)?;
    let figures = rest_within(&mut world, &journal, drain_max)?;
    is_shown(given, &world, &journal, kills)?;
    world.stop(STOP_MAX)?;
    Ok(figures)
}

/// Returns the smallest number of valid events that hookbox must accept.
fn events(given: &RunContext<'_>) -> u32 {
    if given.is_quick { EVENTS_QUICK } else { EVENTS }
}

/// Checks that the case has shown something: that there were enough events and kills, and that
/// calls were repeated.
fn is_shown(given: &RunContext<'_>, world: &World, journal: &Journal, kills: u32) -> Result<()> {
    ensure!(
        kills >= KILLS_LEAST,
        "workers must be killed at least {KILLS_LEAST} times while events are processed, but were \
         killed {kills} times"
    );
    let sent = journal.events.values();
    let accepted = sent.filter(|it| it.class == Class::Valid && !it.receipts.is_empty());
    let (accepted, wanted) = (accepted.count(), events(given) as usize);
    ensure!(
        accepted >= wanted,
        "at least {wanted} valid events must be accepted, but only {accepted} were"
    );
    let external = world.targets.routes().all.iter();
    let external = external.filter(|route| route.is_external());
    // The broker confirms a message of `publish` so soon that none may be in flight at the few
    // kills in CI.
    let sure = external.filter(|route| !given.is_quick || **route == UserRoute::Forward);
    for route in sure {
        ensure!(
            world.targets.repeated(*route) > 0,
            "a call by {} must have been repeated, or the case shows nothing",
            route.as_str()
        );
    }
    Ok(())
}
