//! How many requests a second get the answer with status 200 while no worker runs, so that only
//! ingest and the broker work, and how much processor time ingest needs for each request. Then a
//! worker settles them all, and the accounting must balance.

use anyhow::Result;

use crate::accounting;
use crate::bench::Bench;
use crate::deployment::{Config, Deployment, Role, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::floors::Floor;
use crate::load::{Kind, Plan, send};
use crate::machine;
use crate::percentile::percentile;

pub(crate) fn over_64(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let [rate, latency, time] = measure(bench, 64)?;
    Ok(vec![
        rate.goal(Goal::TimesFloor(1.4)),
        latency.goal(Goal::AtMost(8.0)),
        time,
    ])
}

pub(crate) fn over_256(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let [rate, latency, time] = measure(bench, 256)?;
    Ok(vec![rate.goal(Goal::TimesFloor(1.8)), latency, time])
}

fn measure(bench: &Bench<'_>, connections: usize) -> Result<[Figure; 3]> {
    let mut deployment = Deployment::new(bench, Config::of(Storage::Servers, "record"))?;
    deployment.start(Role::Ingest)?;
    let warm_up = bench.amount(5_000, 100);
    let events = bench.amount(60_000, 500);
    let (mut rates, mut latencies, mut times, mut next) = (vec![], vec![], vec![], 0);
    let mut send_closed = |count: u64| {
        let numbers = next..next + count;
        next += count;
        let plan = Plan {
            connections,
            made_before: true,
            ..Plan::closed(deployment.requests(Kind::Good), numbers)
        };
        bench.runtime.block_on(send(plan))
    };
    send_closed(warm_up)?;
    for run in 1..=bench.runs {
        bench.say(&format!("run {run} of {}: {events} requests", bench.runs));
        let before = processor_time(&deployment);
        let sent = send_closed(events)?;
        let used = processor_time(&deployment) - before;
        times.push(used / events as f64 * 1e6);
        rates.push(sent.rate());
        latencies.push(percentile(&sent.latencies, 0.99));
    }
    bench.say("settling everything");
    deployment.start(Role::Worker)?;
    accounting::wait_settled(&deployment, bench, next)?;
    accounting::check(&deployment, &[("done", next)])?;
    let rate = Figure::new("accepted", Unit::PerSecond, rates).floors(&[Floor::Publishes]);
    let latency = Figure::new("p99 under full load", Unit::Milliseconds, latencies);
    let what = "processor time of ingest for an event";
    let time = Figure::new(what, Unit::Microseconds, times);
    Ok([rate, latency, time])
}

/// Returns the processor time that ingest has used so far, in seconds.
fn processor_time(deployment: &Deployment<'_>) -> f64 {
    let ids = deployment.ids(Role::Ingest);
    ids.filter_map(machine::processor_time).sum()
}
