//! A queue of one million events: it must be processed at the rate of a short queue, and neither
//! ingest nor a worker may need more memory than `INGEST_MAX` and `WORKER_MAX` allow. The handler
//! is `record`, with two workers.

use anyhow::Result;

use crate::bench::Bench;
use crate::cases::processed::{Drain, rate};
use crate::deployment::{Config, Role, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::load::Kind;
use crate::machine;

/// The most memory that a worker may need, in MiB.
const WORKER_MAX: f64 = 60.0;

/// The most memory that ingest may need, in MiB.
const INGEST_MAX: f64 = 40.0;

/// The rate of the long queue must be at least this share of the rate of the short queue. A smaller
/// difference is noise.
const SHARE_MIN: f64 = 0.95;

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let mut drain = Drain::new(bench, Config::of(Storage::Servers, "record"), Kind::Good)?;
    drain.commits(bench.amount(4_000, 64), 2)?;
    bench.say("a short queue");
    let short = drain.run(bench.amount(60_000, 1_000), 2)?;
    bench.say("a long queue");
    let events = bench.amount(1_000_000, 3_000);
    let mut memory = 0.0_f64;
    let commits = drain.commits_and(events, 2, |deployment| {
        let used = deployment
            .ids(Role::Worker)
            .filter_map(machine::peak_memory);
        memory = used.fold(memory, f64::max);
    })?;
    let long = rate(&commits)?;
    let ingest = drain.deployment.ids(Role::Ingest);
    let ingest = ingest.filter_map(machine::peak_memory).fold(0.0, f64::max);
    drain.check(&[])?;
    let memory_of = |name, value| Figure::new(name, Unit::Mebibytes, vec![value]);
    Ok(vec![
        Figure::new("processed, short queue", Unit::PerSecond, vec![short]),
        Figure::new("processed, long queue", Unit::PerSecond, vec![long]),
        Figure::new("share of the short queue", Unit::Ratio, vec![long / short])
            .goal(Goal::AtLeast(SHARE_MIN)),
        memory_of("peak memory of a worker", memory).goal(Goal::AtMost(WORKER_MAX)),
        memory_of("peak memory of ingest", ingest).goal(Goal::AtMost(INGEST_MAX)),
    ])
}
