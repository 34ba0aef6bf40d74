//! Whether four workers process four times as many events as one worker, with a handler that waits
//! 20 ms for each event. The wait stands for that of a handler which uses another system. It is
//! made by a trigger on the table `begini_scores`, which sleeps.

use anyhow::{Context, Result};

use crate::bench::Bench;
use crate::cases::processed::Drain;
use crate::deployment::{Config, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::load::Kind;
use crate::store::Commit;

const TRIGGER: &str = "
    create function bench_waits() returns trigger language plpgsql as $$
    begin
        perform pg_sleep(0.02);
        return new;
    end $$;
    create trigger bench_waits before insert on begini_scores
    for each row execute function bench_waits();";

/// How many events one worker processes in a second: it runs four transactions at once, and each
/// processes one event in 20 ms.
const OF_ONE: u64 = 200;

/// The rate is measured until this share of the receipts is settled. After that, some workers have
/// nothing left to do.
const STEADY: f64 = 0.8;

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let mut drain = Drain::new(bench, Config::of(Storage::Servers, "begini"), Kind::Good)?;
    let store = drain.deployment.store.clone();
    drain.commits(bench.amount(2_000, 64), 4)?;
    bench.runtime.block_on(store.execute(TRIGGER))?;
    // One batch of 64 events takes 1.3 s. A run must have many batches, so a run lasts much longer
    // than a batch.
    let seconds = bench.amount(30, 2);
    let (mut ones, mut fours, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=bench.runs {
        bench.say(&format!("run {run} of {}", bench.runs));
        let one = steady(&drain.commits(OF_ONE * seconds, 1)?)?;
        let four = steady(&drain.commits(OF_ONE * seconds * 4, 4)?)?;
        ones.push(one);
        fours.push(four);
        shares.push(four / one / 4.0);
    }
    drain.check(&[])?;
    let share = Figure::new("share of four times", Unit::Ratio, shares);
    Ok(vec![
        Figure::new("processed by one", Unit::PerSecond, ones),
        Figure::new("processed by four", Unit::PerSecond, fours),
        share.goal(Goal::AtLeast(0.95)),
    ])
}

/// Returns the rate while all workers have work: from the first commit to the commit at which the
/// share [`STEADY`] of the receipts is settled.
fn steady(commits: &[Commit]) -> Result<f64> {
    let first = commits
        .first()
        .context("the workers have committed nothing")?;
    let all: u64 = commits.iter().map(|commit| commit.receipts).sum();
    let (mut settled, mut last) = (0, first.at);
    for commit in commits.iter().skip(1) {
        settled += commit.receipts;
        last = commit.at;
        if (settled + first.receipts) as f64 >= all as f64 * STEADY {
            break;
        }
    }
    Ok(settled as f64 / (last - first.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_without_work_does_not_count() {
        let commit = |at, receipts| Commit { at, receipts };
        let commits = [
            commit(0.0, 20),
            commit(1.0, 20),
            commit(2.0, 40),
            commit(9.0, 20),
        ];
        assert_eq!(steady(&commits).expect("a rate"), 30.0);
    }
}
