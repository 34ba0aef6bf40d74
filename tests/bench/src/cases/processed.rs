//! How many events two workers commit a second from a queue that is full when they start: the work
//! of the workers, the broker and the store alone. The rate is that between the first and the last
//! commit, by the times that PostgreSQL keeps. With a grown store, two checkpoints are made during
//! each run, beside those that PostgreSQL makes by itself.

use std::time::Duration;

use anyhow::{Result, ensure};
use hookbox_testkit::servers::process::wait_until;

use crate::accounting;
use crate::bench::Bench;
use crate::deployment::{Config, Deployment, Role, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::fill;
use crate::floors::Floor;
use crate::load::{Kind, Plan, now, send};
use crate::machine;
use crate::store::Commit;

/// What the rates are compared with: graphile-worker if it was measured, otherwise
/// [`Floor::JobTable`], which does the same jobs without graphile-worker.
const JOBS: &[Floor] = &[Floor::GraphileWorker, Floor::JobTable];

pub(crate) fn record(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    measure(bench, "record", 3.6)
}

pub(crate) fn begini(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    measure(bench, "begini", 2.0)
}

fn measure(bench: &Bench<'_>, handler: &'static str, goal: f64) -> Result<Vec<Figure>> {
    let mut drain = Drain::new(bench, Config::of(Storage::Servers, handler), Kind::Good)?;
    let events = bench.amount(60_000, 640);
    drain.commits(bench.amount(4_000, 64), 2)?;
    let mut rates = Vec::new();
    for run in 1..=bench.runs {
        bench.say(&format!("run {run} of {}", bench.runs));
        rates.push(drain.run(events, 2)?);
    }
    let empty = Figure::new("processed", Unit::PerSecond, rates)
        .floors(JOBS)
        .goal(Goal::TimesFloor(goal));
    let mut figures = Vec::new();
    if bench.stored > 0 {
        drain.fill(bench.stored)?;
        drain.commits(events / 4, 2)?;
        let mut rates = Vec::new();
        for run in 1..=bench.runs {
            bench.say(&format!("run {run} of {}, with events stored", bench.runs));
            rates.push(drain.run(events, 2)?);
        }
        let what = format!("processed, {} stored", fill::amount(bench.stored));
        let share = rates.iter().map(|rate| rate / empty.median()).collect();
        figures.push(Figure::new(what, Unit::PerSecond, rates).floors(JOBS));
        let share = Figure::new("share of the empty rate", Unit::Ratio, share);
        figures.push(share.goal(Goal::AtLeast(0.9)));
    }
    drain.check(&[])?;
    figures.insert(0, empty);
    Ok(figures)
}

/// A deployment whose workers empty a full queue again and again.
pub(crate) struct Drain<'a> {
    bench: &'a Bench<'a>,
    pub deployment: Deployment<'a>,
    kind: Kind,
    next: u64,
    filled: u64,
}

impl<'a> Drain<'a> {
    pub fn new(bench: &'a Bench<'a>, config: Config<'_>, kind: Kind) -> Result<Drain<'a>> {
        let mut deployment = Deployment::new(bench, config)?;
        deployment.start(Role::Ingest)?;
        Ok(Drain {
            bench,
            deployment,
            kind,
            next: 0,
            filled: 0,
        })
    }

    /// Returns how many events were sent.
    pub fn sent(&self) -> u64 {
        self.next
    }

    /// Lets later runs send events of another kind.
    pub fn send(&mut self, kind: Kind) {
        self.kind = kind;
    }

    /// Sends events while no worker runs.
    pub fn queue(&mut self, events: u64) -> Result<()> {
        let numbers = self.next..self.next + events;
        self.next += events;
        let plan = Plan::closed(self.deployment.requests(self.kind), numbers);
        self.bench.runtime.block_on(send(plan)).map(drop)
    }

    /// Adds this many processed events to the store.
    pub fn fill(&mut self, events: u64) -> Result<()> {
        fill::fill(self.bench, &self.deployment.store, events)?;
        self.filled += events;
        Ok(())
    }

    /// Queues events, lets workers settle them, and returns the rate.
    pub fn run(&mut self, events: u64, workers: usize) -> Result<f64> {
        let commits = self.commits(events, workers)?;
        rate(&commits)
    }

    /// Like [`Drain::run`] with one worker, but also returns the processor time of the worker for
    /// each event in microseconds, including the time that the worker needs to start.
    pub fn run_with_time(&mut self, events: u64) -> Result<(f64, f64)> {
        let mut seconds = 0.0;
        let commits = self.commits_and(events, 1, |deployment| {
            let times = deployment.ids(Role::Worker);
            seconds = times.filter_map(machine::processor_time).sum::<f64>();
        })?;
        Ok((rate(&commits)?, seconds / events as f64 * 1e6))
    }

    /// Like [`Drain::run`], but returns the commits and not their rate.
    pub fn commits(&mut self, events: u64, workers: usize) -> Result<Vec<Commit>> {
        self.commits_and(events, workers, |_| ())
    }

    /// Like [`Drain::commits`], but calls `look` while the workers still run.
    pub fn commits_and(
        &mut self,
        events: u64,
        workers: usize,
        look: impl FnOnce(&Deployment<'_>),
    ) -> Result<Vec<Commit>> {
        let before = self.next;
        self.queue(events)?;
        let store = self.deployment.store.clone();
        let runtime = self.bench.runtime;
        runtime.block_on(store.checkpoint())?;
        let since = now();
        for _ in 0..workers {
            self.deployment.start(Role::Worker)?;
        }
        if self.filled > 0 {
            for third in [1, 2] {
                let until = before + self.filled + events * third / 3;
                wait_until(Duration::from_secs(600), || {
                    let inserted = runtime.block_on(store.inserted());
                    inserted.is_ok_and(|inserted| inserted >= until)
                });
                runtime.block_on(store.checkpoint())?;
            }
        }
        accounting::wait_settled(&self.deployment, self.bench, self.next)?;
        let commits = runtime.block_on(store.commits(since))?;
        look(&self.deployment);
        self.deployment.stop(Role::Worker)?;
        Ok(commits)
    }

    /// Checks the accounting. Without expected outcomes, everything that was sent must be done.
    pub fn check(&self, expected: &[(&str, u64)]) -> Result<()> {
        self.bench.say("checking the accounting");
        let done = [("done", self.next + self.filled)];
        let expected = if expected.is_empty() { &done } else { expected };
        accounting::check(&self.deployment, expected)
    }
}

/// Returns how many receipts were processed per second, from the first commit to the last.
pub(crate) fn rate(commits: &[Commit]) -> Result<f64> {
    let (Some(first), Some(last)) = (commits.first(), commits.last()) else {
        anyhow::bail!("PostgreSQL reports no commit");
    };
    ensure!(
        last.at > first.at,
        "a rate needs at least two commits at different times"
    );
    let after: u64 = commits.iter().skip(1).map(|commit| commit.receipts).sum();
    Ok(after as f64 / (last.at - first.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_commit_only_begins_the_time() {
        let commit = |at, receipts| Commit { at, receipts };
        let commits = [commit(10.0, 64), commit(10.5, 64), commit(12.0, 36)];
        assert_eq!(rate(&commits).expect("a rate"), 50.0);
        assert!(rate(&commits[..1]).is_err());
        assert!(rate(&[]).is_err());
    }
}
