//! One process with both roles on SQLite with `synchronous=FULL`: events accepted and processed a
//! second, from the first request until everything has its outcome, and then the latency of
//! acceptance in an open loop at four fifths of that rate. Broker and store are one file, or two.

use std::time::Instant;

use anyhow::Result;

use crate::accounting;
use crate::bench::Bench;
use crate::deployment::{Config, Deployment, Role, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::floors::Floor;
use crate::load::{Kind, Plan, send};
use crate::percentile::percentile;

/// The latency is measured at this share of the highest rate. At a higher share, a pause of the
/// disk would make a queue that takes long to disappear, because little capacity is left to process
/// it.
const SHARE: f64 = 0.8;

pub(crate) fn one_file(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    measure(bench, Storage::OneFile)
}

pub(crate) fn two_files(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    measure(bench, Storage::TwoFiles)
}

fn measure(bench: &Bench<'_>, storage: Storage) -> Result<Vec<Figure>> {
    let mut deployment = Deployment::new(bench, Config::of(storage, "begini"))?;
    deployment.start(Role::All)?;
    let (mut rates, mut latencies, mut next) = (Vec::new(), Vec::new(), 0);
    let mut closed = |count: u64, rate: Option<f64>| {
        let numbers = next..next + count;
        next = numbers.end;
        let plan = Plan {
            rate,
            ..Plan::closed(deployment.requests(Kind::Good), numbers)
        };
        let began = Instant::now();
        let sent = bench.runtime.block_on(send(plan))?;
        accounting::wait_settled(&deployment, bench, next)?;
        anyhow::Ok((sent, count as f64 / began.elapsed().as_secs_f64()))
    };
    closed(bench.amount(2_000, 64), None)?;
    let events = bench.amount(20_000, 500);
    for run in 1..=bench.runs {
        bench.say(&format!("run {run} of {}", bench.runs));
        let (_, rate) = closed(events, None)?;
        rates.push(rate);
        let (sent, _) = closed(events / 2, Some(rate * SHARE))?;
        latencies.push(percentile(&sent.latencies, 0.99));
    }
    accounting::check(&deployment, &[("done", next)])?;
    let rate = Figure::new("in and processed", Unit::PerSecond, rates);
    let latency = "p99 of acceptance at 0.8 of that rate";
    let latency = Figure::new(latency, Unit::Milliseconds, latencies);
    Ok(vec![
        rate.floors(&[Floor::SqliteCommits])
            .goal(Goal::AtLeast(6_000.0)),
        latency.goal(Goal::AtMost(25.0)),
    ])
}
