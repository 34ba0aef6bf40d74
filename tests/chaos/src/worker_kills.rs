//! Case 85: a worker is killed again and again, as by `kill -9`, while events go through each
//! handler that a user configures: `sql`, `forward` and `publish`.

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

/// How many events are sent at least that hookbox must process. The load also has events that are
/// altered or malformed, about 4 in 100.
const EVENTS: u32 = 5_000;

/// The same in CI.
const EVENTS_QUICK: u32 = 500;

/// How many requests are sent per second: few enough that most events are processed before the
/// load ends, and so are in flight at some kill.
const RATE: u32 = 100;

/// How long the service takes for each call, so that some are in flight at each kill.
const CALL: Duration = Duration::from_millis(150);

/// The same in CI, where there are few kills, and some of them may meet a worker that has just
/// started.
const CALL_QUICK: Duration = Duration::from_secs(1);

/// How long a kill is put off at most until the service has got another call. A busy machine takes
/// seconds to start a worker.
const CALLED_WITHIN: Duration = Duration::from_secs(10);

/// The shortest and the longest time between two kills, in milliseconds. There are two workers, so
/// each of them lives for about twice as long.
const BETWEEN_KILLS: (u64, u64) = (1_500, 3_500);

/// The same in CI, where the load lasts for five seconds.
const BETWEEN_KILLS_QUICK: (u64, u64) = (600, 1_400);

/// The time for which workers are killed. A lease of a killed worker lasts 22 s, so that at most
/// three leases of an event end within this time. After the fourth one without an outcome, the
/// event would be a dead letter.
const KILLS_MAX: Duration = Duration::from_secs(55);

/// The fewest kills that show anything.
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
    let call = if given.is_quick { CALL_QUICK } else { CALL };
    world.targets.set(ServiceMode::Slow(call));
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
    let (mut chance, mut kills, began) = (Chance::new(given.seed), 0, Instant::now());
    let mut sending = load.start(&world)?;
    while (!sending.is_over() || kills < KILLS_LEAST) && began.elapsed() < KILLS_MAX {
        let before = world.targets.requests();
        pause(chance.between(shortest, longest));
        wait_until(CALLED_WITHIN, || world.targets.requests() != before);
        kills += u32::from(world.kill(chance.one_of::<&str>(&["worker 1", "worker 2"]))?);
    }
    // All events go through three or four routes in a debug build, whatever the load's rate.
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

/// Returns how many events hookbox must process at least.
fn events(given: &RunContext<'_>) -> u32 {
    if given.is_quick { EVENTS_QUICK } else { EVENTS }
}

/// Checks that the case has shown something: that there were enough events and kills, and that
/// calls were repeated.
fn is_shown(given: &RunContext<'_>, world: &World, journal: &Journal, kills: u32) -> Result<()> {
    ensure!(
        kills >= KILLS_LEAST,
        "a worker must be killed at least {KILLS_LEAST} times while events are in work, not {kills}"
    );
    let sent = journal.events.values();
    let accepted = sent.filter(|it| it.class == Class::Valid && !it.receipts.is_empty());
    let (accepted, wanted) = (accepted.count(), events(given) as usize);
    ensure!(
        accepted >= wanted,
        "at least {wanted} valid events must be accepted, not {accepted}"
    );
    let external = world.targets.routes().all.iter();
    let external = external.filter(|route| route.is_external());
    // A message is confirmed so soon that a few kills may meet none in flight.
    let sure = external.filter(|route| !given.is_quick || **route == UserRoute::Forward);
    for route in sure {
        ensure!(
            world.targets.repeated(*route) > 0,
            "no call by {} was repeated, so that the case shows nothing",
            route.as_str()
        );
    }
    Ok(())
}
