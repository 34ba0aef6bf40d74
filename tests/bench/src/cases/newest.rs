//! What `newest` costs: how many events two workers commit a second on a route that applies only
//! the newest event of each key, divided by the rate of a route that applies all. Every event has
//! another value of the key of `newest`. So no event is stale: each is handled, and each writes a
//! row for its key. The two routes are measured in turns, and only one of them has workers at a
//! time.

use anyhow::Result;

use super::processed::Drain;
use super::turns;
use crate::bench::Bench;
use crate::deployment::{Config, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::floors::Floor;
use crate::load::Kind;

const NEWEST: &str =
    r#"newest = { key = ["/uid"], version = "/event/details/scored_at", type = "integer" }"#;

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let config = Config::of(Storage::Servers, "begini");
    let mut without = Drain::new(bench, config, Kind::Good)?;
    let mut with = Drain::new(
        bench,
        Config {
            route: NEWEST,
            ..config
        },
        Kind::Good,
    )?;
    let events = bench.amount(60_000, 640);
    let warm_up = bench.amount(4_000, 64);
    without.commits(warm_up, 2)?;
    with.commits(warm_up, 2)?;
    let turns = turns::measure(bench, || without.run(events, 2), || with.run(events, 2))?;
    without.check(&[])?;
    with.check(&[])?;
    let share = Figure::new(
        "share of the rate without `newest`",
        Unit::Ratio,
        turns.shares,
    );
    Ok(vec![
        Figure::new("processed, all", Unit::PerSecond, turns.plain).floors(&[Floor::JobTable]),
        Figure::new(
            "processed, newest of each key",
            Unit::PerSecond,
            turns.other,
        ),
        share.goal(Goal::AtLeast(0.95)),
    ])
}
