//! What it costs when one event in a hundred fails. Each run measures how many events a second are
//! processed from a full queue, first without failing events and then with them, and divides the
//! second rate by the first. The handler is `begini`, and the failed events become dead letters at
//! once.
//!
//! Events fail in two ways. In the first, the score is an integer, as the JSON Schema wants, but
//! too large for its column: the handler returns an error about one event before it writes a row.
//! In the second, a trigger of the test on `begini_scores` raises an error for certain applicants:
//! a statement fails. If this statement writes the rows of many events, its error does not say
//! which event has failed.

use anyhow::Result;

use crate::bench::Bench;
use crate::cases::processed::Drain;
use crate::deployment::{Config, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::load::Kind;

/// Creates a trigger that raises an error for the failing applicants of [`Kind::DatabaseFails`].
const TRIGGER: &str = "
    create function bench_fails() returns trigger language plpgsql as $$
    begin
        if new.uid like 'FAIL%' then
            raise exception 'this applicant fails';
        end if;
        return new;
    end $$;
    create trigger bench_fails before insert on begini_scores
    for each row execute function bench_fails();";

/// One attempt, so that a failed event is a dead letter at once, whatever the class of its error.
const ONCE: &str = "retry = { attempts = 1 }";

/// One event in this many fails, as `load` makes the events.
const EVERY: u64 = 100;

pub(crate) fn by_handler(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    measure(bench, Kind::HandlerFails, 0.85)
}

pub(crate) fn by_database(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    measure(bench, Kind::DatabaseFails, 0.7)
}

fn measure(bench: &Bench<'_>, kind: Kind, goal: f64) -> Result<Vec<Figure>> {
    let config = Config {
        route: ONCE,
        ..Config::of(Storage::Servers, "begini")
    };
    let mut drain = Drain::new(bench, config, Kind::Good)?;
    let store = drain.deployment.store.clone();
    bench.runtime.block_on(store.execute(TRIGGER))?;
    // The numbers of events in a run and in the warm-up are multiples of `EVERY`, so that exactly
    // one event in a hundred fails in each run with failures.
    let events = bench.amount(30_000, 1_000);
    drain.commits(bench.amount(4_000, 100), 2)?;
    let (mut clean, mut failing, mut shares, mut dead) = (vec![], vec![], vec![], 0);
    for run in 1..=bench.runs {
        bench.say(&format!("run {run} of {}", bench.runs));
        drain.send(Kind::Good);
        let without = drain.run(events, 2)?;
        drain.send(kind);
        let with = drain.run(events, 2)?;
        dead += events / EVERY;
        clean.push(without);
        failing.push(with);
        shares.push(with / without);
    }
    drain.check(&[("done", drain.sent() - dead), ("dead", dead)])?;
    let share = Figure::new("share of the rate without failures", Unit::Ratio, shares);
    Ok(vec![
        Figure::new("processed, none fails", Unit::PerSecond, clean),
        Figure::new("processed, 1 in 100 fails", Unit::PerSecond, failing),
        share.goal(Goal::AtLeast(goal)),
    ])
}
