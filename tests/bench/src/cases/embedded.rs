//! Measures one process that is ingest and worker, on SQLite with `synchronous=FULL`. The first
//! figure is how many events a second are accepted and processed, from the first request until the
//! last event has its outcome. The second is the latency of acceptance in an open loop at four
//! fifths of that rate. Broker and store are in one file, or in two. With a grown store, the rate
//! is measured once more.

use anyhow::{Context, Result};

use crate::accounting;
use crate::bench::Bench;
use crate::deployment::{Config, Deployment, Role, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::fill;
use crate::floors::Floor;
use crate::load::{Kind, Plan, Sent, now, send};
use crate::percentile::percentile;

/// The latency is measured at this share of the highest rate. At a higher share, a pause of the
/// disk would make a queue that takes long to disappear, because little capacity is left to process
/// it.
const SHARE: f64 = 0.8;

const FLOORS: &[Floor] = &[Floor::SqliteCommits];

pub(crate) fn one_file(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    measure(bench, Storage::OneFile)
}

pub(crate) fn two_files(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    measure(bench, Storage::TwoFiles)
}

fn measure(bench: &Bench<'_>, storage: Storage) -> Result<Vec<Figure>> {
    let mut deployment = Deployment::new(bench, Config::of(storage, "begini"))?;
    deployment.start(Role::All)?;
    let mut load = Load {
        bench,
        deployment,
        sent: 0,
    };
    let (events, warm_up) = (bench.amount(20_000, 500), bench.amount(2_000, 64));
    load.send(warm_up, None)?;
    let (mut rates, mut latencies) = (Vec::new(), Vec::new());
    for run in 1..=bench.runs {
        bench.say(&format!("run {run} of {}", bench.runs));
        let (_, rate) = load.send(events, None)?;
        rates.push(rate);
        let (sent, _) = load.send(events / 2, Some(rate * SHARE))?;
        latencies.push(percentile(&sent.latencies, 0.99));
    }
    let rate = Figure::new("in and processed", Unit::PerSecond, rates).floors(FLOORS);
    let latency = "p99 of acceptance at 0.8 of that rate";
    let latency = Figure::new(latency, Unit::Milliseconds, latencies);
    let mut stored = Vec::new();
    if bench.stored > 0 {
        // The process must not write to the file while it is filled.
        load.deployment.stop(Role::All)?;
        fill::fill(bench, &load.deployment.store, bench.stored)?;
        load.deployment.start(Role::All)?;
        load.send(warm_up, None)?;
        let mut rates = Vec::new();
        for run in 1..=bench.runs {
            bench.say(&format!("run {run} of {}, with events stored", bench.runs));
            rates.push(load.send(events, None)?.1);
        }
        let shares = rates.iter().map(|it| it / rate.median()).collect();
        let what = format!("in and processed, {} stored", fill::amount(bench.stored));
        stored.push(Figure::new(what, Unit::PerSecond, rates).floors(FLOORS));
        let share = Figure::new("share of the empty rate", Unit::Ratio, shares);
        stored.push(share.goal(Goal::AtLeast(0.9)));
    }
    accounting::check(&load.deployment, &[("done", load.sent + bench.stored)])?;
    let mut figures = vec![
        rate.goal(Goal::AtLeast(6_000.0)),
        latency.goal(Goal::AtMost(25.0)),
    ];
    figures.extend(stored);
    Ok(figures)
}

/// A deployment that processes what it accepts, and the number of events that it was sent.
struct Load<'a> {
    bench: &'a Bench<'a>,
    deployment: Deployment<'a>,
    sent: u64,
}

impl Load<'_> {
    /// Sends events, as fast as they are accepted or at a rate, and waits for their outcomes.
    /// Returns what was sent, and how many events were accepted and processed a second.
    fn send(&mut self, count: u64, rate: Option<f64>) -> Result<(Sent, f64)> {
        let numbers = self.sent..self.sent + count;
        self.sent = numbers.end;
        let plan = Plan {
            rate,
            ..Plan::closed(self.deployment.requests(Kind::Good), numbers)
        };
        let began = now();
        let sent = self.bench.runtime.block_on(send(plan))?;
        accounting::wait_settled(&self.deployment, self.bench, self.sent)?;
        // `wait_settled` notices late that the last event has its outcome. This delay would make
        // the rate too low, so the rate is computed up to the time of the last commit.
        let commits = self.deployment.store.commits(began);
        let commits = self.bench.runtime.block_on(commits)?;
        let last = commits
            .last()
            .context("the store has no commit of these events")?;
        Ok((sent, count as f64 / (last.at - began)))
    }
}
