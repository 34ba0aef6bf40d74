//! How long it takes from the moment when a request is due to the commit of its outcome, in an open
//! loop at constant rates. Ingest and two workers run, the handler is `begini`. PostgreSQL records
//! the time of the commit, by the same clock that the client uses.

use std::collections::HashMap;

use anyhow::{Context, Result};

use crate::accounting;
use crate::bench::Bench;
use crate::deployment::{Config, Deployment, Role, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::load::{Kind, Plan, now, send};
use crate::percentile::percentile;

/// The rates in requests a second. The goal of the case is for the last rate.
const RATES: [u32; 3] = [500, 1_000, 2_000];

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let mut deployment = Deployment::new(bench, Config::of(Storage::Servers, "begini"))?;
    deployment.start(Role::Ingest)?;
    deployment.start(Role::Worker)?;
    deployment.start(Role::Worker)?;
    let mut next = 0;
    let seconds = bench.amount(15, 1);
    let mut open = |rate: u32, seconds: u64| {
        let numbers = next..next + u64::from(rate) * seconds;
        next = numbers.end;
        let plan = Plan {
            rate: Some(f64::from(rate)),
            keep_receipts: true,
            ..Plan::closed(deployment.requests(Kind::Good), numbers)
        };
        settled(bench, &deployment, plan, next)
    };
    bench.say("warming up");
    open(RATES[0], bench.amount(5, 1))?;
    let mut figures = Vec::new();
    for rate in RATES {
        let (mut accepted, mut middles, mut highs) = (Vec::new(), Vec::new(), Vec::new());
        for run in 1..=bench.runs {
            bench.say(&format!("{rate}/s, run {run} of {}", bench.runs));
            let Times { acceptance, times } = open(rate, seconds)?;
            accepted.push(percentile(&acceptance, 0.99));
            middles.push(percentile(&times, 0.5));
            highs.push(percentile(&times, 0.99));
        }
        let figure =
            |share, runs| Figure::new(format!("{share} at {rate}/s"), Unit::Milliseconds, runs);
        figures.push(figure("p99 of acceptance", accepted));
        let (middle, high) = (figure("p50", middles), figure("p99", highs));
        let is_last = Some(&rate) == RATES.last();
        figures.extend(if is_last {
            [
                middle.goal(Goal::AtMost(5.0)),
                high.goal(Goal::AtMost(25.0)),
            ]
        } else {
            [middle, high]
        });
    }
    accounting::check(&deployment, &[("done", next)])?;
    Ok(figures)
}

/// The times of one run in milliseconds, one for each request, counted from the moment when the
/// request was due.
struct Times {
    /// The times until the answers.
    acceptance: Vec<f64>,
    /// The times until the commits of the outcomes.
    times: Vec<f64>,
}

/// Sends the requests of a plan, and waits until all are settled.
fn settled(
    bench: &Bench<'_>,
    deployment: &Deployment<'_>,
    plan: Plan,
    receipts: u64,
) -> Result<Times> {
    let since = now();
    let sent = bench.runtime.block_on(send(plan))?;
    accounting::wait_settled(deployment, bench, receipts)?;
    let settlements = deployment.store.settlements(since);
    let settlements: HashMap<String, f64> =
        bench.runtime.block_on(settlements)?.into_iter().collect();
    let time = |answered: &crate::load::Answered| {
        let at = settlements.get(&answered.receipt);
        let at = at.context("an accepted receipt has no outcome")?;
        Ok((at - answered.due) * 1e3)
    };
    let times = sent.receipts.iter().map(time).collect::<Result<_>>()?;
    Ok(Times {
        acceptance: sent.latencies,
        times,
    })
}
