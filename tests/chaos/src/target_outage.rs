//! Case 86: the target of `forward` is down for some time, then slow, and then asks for pauses.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::checker::Figures;
use crate::fault::pause;
use crate::journal::Journal;
use crate::load::{Load, RunningLoad};
use crate::plan::Plan;
use crate::scenario::{RunContext, SETTLE_MAX, STOP_MAX, rest_within};
use crate::targets::ServiceMode;
use crate::user_route::{UserRoute, UserRoutes};
use crate::world::World;

/// How long an answer takes while the target is slow. It is less than the time limit of a call.
const SLOW: Duration = Duration::from_millis(1_500);

/// The answer of a busy target, which asks for a pause of [`BUSY_PAUSE`].
const BUSY: &str = "429 Too Many Requests\r\nretry-after: 2";

/// The pause that a busy target asks for, in seconds.
const BUSY_PAUSE: u64 = 2;

/// The answer of a proxy in front of a service that is down.
const UNREACHED: &str = "503 Service Unavailable";

/// The most calls that all workers together may have in flight at the target.
const CONCURRENCY: u32 = 64;

/// The time within which the breaker must open. It opens when calls for five events in a row have
/// not reached the target.
const OPEN_MAX: Duration = Duration::from_secs(60);

/// The time within which the first call must be made after the target is up again. The breaker
/// stays open for up to 72 s, and the next event may then be deferred for up to another 90 s.
const PROBE_MAX: Duration = Duration::from_secs(180);

/// The shortest time for which the breaker is open after a long outage, in seconds.
const OPEN_LONG: u64 = 48;

/// The time within which the other routes must process the accepted events, with a margin for a
/// debug build on two busy cores.
const NEIGHBOURS_MAX: Duration = Duration::from_secs(40);

/// The parts of the case, with the duration of each in seconds, and the load during all of them.
struct Course {
    /// For how long the target refuses connections.
    refused: u64,
    /// For how long a proxy in front of the target answers that it cannot reach the target.
    unreached: u64,
    /// For how long the target answers slowly.
    slow: u64,
    /// For how long the target asks for a pause at each call.
    busy: u64,
    /// How many requests are sent to ingest per second.
    rate: u32,
}

/// The course with an outage of ten minutes.
const LONG: Course = Course {
    refused: 300,
    unreached: 300,
    slow: 60,
    busy: 30,
    rate: 10,
};

/// The short course for CI. The breaker opens for 5 s at first. If the outage were longer, the
/// breaker would open a second time, and the case would take 10 s more.
const QUICK: Course = Course {
    refused: 2,
    unreached: 0,
    slow: 4,
    busy: 4,
    rate: 20,
};

/// Takes the target through all parts of the case under a steady load.
///
/// # Errors
/// When an invariant does not hold, an event loses an attempt, or another route has to wait.
pub fn target_outage(given: &RunContext<'_>) -> Result<Figures> {
    let plan = Plan {
        filter: "info",
        user_routes: UserRoutes {
            all: &[UserRoute::Sql, UserRoute::Forward],
            call_limit: "10 s",
            concurrency: CONCURRENCY,
            ..UserRoutes::NONE
        },
        ..Plan::default()
    };
    let course = if given.is_quick { QUICK } else { LONG };
    let mut world = World::new(given.servers, given.pair, &plan)?;
    world.targets.set(ServiceMode::Down);
    world.worker(1, None)?;
    world.worker(2, None)?;
    world.ingest(1, None)?;
    let mut load = Load::endless(given.seed);
    load.rate = course.rate;
    let mut sending = load.start(&world)?;
    down(&mut world, &mut sending, &course)?;
    slow(&mut world, &mut sending, &course)?;
    busy(&mut world, &mut sending, &course)?;
    world.targets.set(ServiceMode::Well);
    sending.enough()?;
    let (seed, path) = sending.finish(&mut world, SETTLE_MAX)?;
    let figures = rest_within(&mut world, &Journal::read(seed, &path)?, 3 * SETTLE_MAX)?;
    world.stop(STOP_MAX)?;
    Ok(figures)
}

/// Keeps the target down. Checks that no event loses an attempt, and that the breaker stops the
/// calls.
fn down(world: &mut World, sending: &mut RunningLoad, course: &Course) -> Result<()> {
    let began = Instant::now();
    let opened = "select cast(count(*) as text) from targets where open_until is not null";
    while count(world, opened)? == 0 {
        ensure!(
            began.elapsed() < OPEN_MAX,
            "the breaker must open within {} s\n{}",
            OPEN_MAX.as_secs(),
            world.tails()
        );
        pause(100);
    }
    lasts(world, sending, course.refused)?;
    neighbours(world, sending)?;
    if course.unreached > 0 {
        world.targets.set(ServiceMode::Declining(UNREACHED));
        lasts(world, sending, course.unreached)?;
        neighbours(world, sending)?;
        let calls = world.targets.gather_requests() as u64;
        let most = course.unreached / OPEN_LONG + 2;
        ensure!(
            (1..=most).contains(&calls),
            "while the target is down, the breaker must let only probes through: 1 to {most} calls \
             in {} s, but there were {calls}",
            course.unreached
        );
    }
    for what in [
        "attempts where route = 'forward'",
        "claims where route = 'forward' and state = 'done'",
        "claims where route = 'forward' and state = 'retrying' and attempts > 0",
    ] {
        let found = count(world, &format!("select cast(count(*) as text) from {what}"))?;
        ensure!(
            found == 0,
            "I9: a target that is down must cost no attempt, but {found} rows match `{what}`"
        );
    }
    Ok(())
}

/// Lets the target take every event, but only after a while. Checks that the workers call the
/// target again.
fn slow(world: &mut World, sending: &mut RunningLoad, course: &Course) -> Result<()> {
    world.targets.set(ServiceMode::Slow(SLOW));
    let began = Instant::now();
    while world.targets.gather_requests() == 0 {
        world.tend(None)?;
        if began.elapsed() > PROBE_MAX {
            bail!(
                "I15: a call must be made within {} s after the target is up again\n{}",
                PROBE_MAX.as_secs(),
                world.tails()
            );
        }
        pause(100);
    }
    lasts(world, sending, course.slow)?;
    neighbours(world, sending)
}

/// Lets the target ask for a pause at each call. Checks that the workers keep to the pauses.
fn busy(world: &mut World, sending: &mut RunningLoad, course: &Course) -> Result<()> {
    world.targets.set(ServiceMode::Declining(BUSY));
    world.targets.gather_requests();
    lasts(world, sending, course.busy)?;
    neighbours(world, sending)?;
    let calls = world.targets.gather_requests() as u64;
    // When the first call is answered with a pause, other calls may be in flight already.
    let most = u64::from(CONCURRENCY) * (course.busy / BUSY_PAUSE + 2);
    ensure!(
        (1..=most).contains(&calls),
        "a target that asks for pauses of {BUSY_PAUSE} s must get 1 to {most} calls in {} s, but \
         got {calls}",
        course.busy
    );
    Ok(())
}

/// Waits for this many seconds while the load runs.
fn lasts(world: &mut World, sending: &mut RunningLoad, seconds: u64) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        pause(200);
        world.tend(None)?;
        ensure!(
            !sending.is_over(),
            "the load must run until the last part of the case is over, but it ended before"
        );
    }
    Ok(())
}

/// Checks that the other routes process all events that are accepted by now, although the target of
/// the route `forward` misbehaves.
fn neighbours(world: &World, sending: &RunningLoad) -> Result<()> {
    let accepted = sending.accepted()?;
    let began = Instant::now();
    for routes in ["'sql'", "'scores', 'applications'"] {
        let question = format!(
            "select cast(count(*) as text) from receipts \
             where route in ({routes}) and outcome <> 'retrying'"
        );
        loop {
            let processed = count(world, &question)?;
            if processed >= accepted {
                break;
            }
            ensure!(
                began.elapsed() < NEIGHBOURS_MAX,
                "{accepted} events were accepted, but only {processed} of them are processed on \
                 the routes {routes}, which do not need the target\n{}",
                world.tails()
            );
            pause(100);
        }
    }
    Ok(())
}

fn count(world: &World, question: &str) -> Result<u64> {
    world.place.sql.number(question)
}
