//! What the conditions of a route (`where`) cost: how many requests a second are accepted by an
//! ingest whose route has five conditions, divided by the rate of an ingest whose route has none.
//! Every event satisfies all conditions. So every condition is decided for every event, and both
//! ingests publish the same batches. The two ingests are measured in turns, and only one of them
//! works at a time. Then a worker settles the events of both, and the accounting of both must
//! balance.

use anyhow::Result;

use super::turns;
use crate::accounting;
use crate::bench::Bench;
use crate::deployment::{Config, Deployment, Role, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::floors::Floor;
use crate::load::{Kind, Plan, send};

/// One condition of each kind that a typical route has. All events of the load satisfy them.
const CONDITIONS: &str = r#"where = [
    { pointer = "/event/details/platform", equals = "WEB" },
    { pointer = "/event/details/calculated/risk_band", in = ["A", "B", "C"] },
    { pointer = "/event/details/calculated/score", greater = 299.5 },
    { pointer = "/uid", prefix = "BENCH" },
    { pointer = "/test", exists = false },
]"#;

/// How many connections send at once.
const CONNECTIONS: usize = 64;

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let config = Config::of(Storage::Servers, "record");
    let mut without = Load::new(bench, config)?;
    let mut with = Load::new(
        bench,
        Config {
            route: CONDITIONS,
            ..config
        },
    )?;
    let events = bench.amount(60_000, 500);
    let warm_up = bench.amount(5_000, 100);
    without.send(warm_up)?;
    with.send(warm_up)?;
    let turns = turns::measure(bench, || without.send(events), || with.send(events))?;
    without.settle()?;
    with.settle()?;
    let share = Figure::new(
        "share of the rate without conditions",
        Unit::Ratio,
        turns.shares,
    );
    Ok(vec![
        Figure::new("accepted, no conditions", Unit::PerSecond, turns.plain)
            .floors(&[Floor::Publishes]),
        Figure::new("accepted, five conditions", Unit::PerSecond, turns.other),
        share.goal(Goal::AtLeast(0.95)),
    ])
}

/// An ingest, and the number of events that it was sent.
struct Load<'a> {
    bench: &'a Bench<'a>,
    deployment: Deployment<'a>,
    next: u64,
}

impl<'a> Load<'a> {
    fn new(bench: &'a Bench<'a>, config: Config<'_>) -> Result<Load<'a>> {
        let mut deployment = Deployment::new(bench, config)?;
        deployment.start(Role::Ingest)?;
        Ok(Load {
            bench,
            deployment,
            next: 0,
        })
    }

    /// Sends events as fast as they are accepted, and returns the rate.
    fn send(&mut self, count: u64) -> Result<f64> {
        let numbers = self.next..self.next + count;
        self.next += count;
        let plan = Plan {
            connections: CONNECTIONS,
            made_before: true,
            ..Plan::closed(self.deployment.requests(Kind::Good), numbers)
        };
        Ok(self.bench.runtime.block_on(send(plan))?.rate())
    }

    /// Lets a worker settle everything, and checks the accounting.
    fn settle(&mut self) -> Result<()> {
        self.bench.say("settling everything");
        self.deployment.start(Role::Worker)?;
        accounting::wait_settled(&self.deployment, self.bench, self.next)?;
        accounting::check(&self.deployment, &[("done", self.next)])?;
        self.deployment.stop(Role::Worker)?;
        self.deployment.stop(Role::Ingest)
    }
}
