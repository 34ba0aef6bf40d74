//! Waits until every accepted receipt has its outcome, and checks the accounting.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use hookbox_testkit::servers::process::wait_until;
use serde_json::Value;

use crate::bench::Bench;
use crate::deployment::Deployment;

/// How long to wait until everything that was accepted has its outcome.
const DRAIN_MAX: Duration = Duration::from_secs(1_800);

/// The wait fails when no further receipt has got an outcome for this long. This time is longer
/// than the longest time for which hookbox itself defers an event.
const STALLED_MAX: Duration = Duration::from_secs(180);

/// How long `hookbox reconcile` waits for the accounting to balance, after every receipt has got
/// its outcome.
const REST: &str = "120s";

/// The shortest time between two counts.
const COUNT_INTERVAL: Duration = Duration::from_millis(200);

/// The time between two counts is at least this many times the duration of a count, so that
/// counting takes at most two percent of one core.
const INTERVAL_PER_COST: u32 = 50;

/// Waits until this many receipts have an outcome. Those that `fill` has written do not count.
pub(crate) fn wait_settled(
    deployment: &Deployment<'_>,
    bench: &Bench<'_>,
    receipts: u64,
) -> Result<()> {
    let mut last = Ok(0);
    let mut next = Instant::now();
    let (mut most, mut grew) = (0, Instant::now());
    let began = Instant::now();
    wait_until(DRAIN_MAX, || {
        if Instant::now() < next {
            return false;
        }
        let counting = Instant::now();
        last = bench.runtime.block_on(deployment.store.settled());
        let pause = COUNT_INTERVAL.max(counting.elapsed() * INTERVAL_PER_COST);
        next = Instant::now() + pause;
        match &last {
            Ok(count) if *count > most => (most, grew) = (*count, Instant::now()),
            Ok(_) | Err(_) => {}
        }
        last.is_err() || most >= receipts || grew.elapsed() > STALLED_MAX
    });
    let count = last?;
    ensure!(
        count >= receipts,
        "after {} s, {count} of {receipts} receipts have an outcome, but none got one in the last \
         {} s:\n{}",
        began.elapsed().as_secs(),
        grew.elapsed().as_secs(),
        deployment.logs()
    );
    Ok(())
}

/// Checks with `hookbox reconcile` that every accepted receipt has its outcome and that no table
/// contradicts another, and that `expected` receipts have each outcome.
pub(crate) fn check(deployment: &Deployment<'_>, expected: &[(&str, u64)]) -> Result<()> {
    // `reconcile` exits with 1 if the accounting does not balance, and prints the report in any
    // case.
    let output = deployment.hookbox(&["reconcile", "--json", "--wait", REST])?;
    let report: Value = serde_json::from_slice(&output.stdout).with_context(|| {
        let error = String::from_utf8_lossy(&output.stderr);
        format!("reading the accounting: {error}")
    })?;
    if report["verdict"] != "balanced" {
        bail!("the accounting does not balance: {report:#}");
    }
    let routes = report["routes"].as_array().map_or(&[][..], Vec::as_slice);
    for (outcome, wanted) in expected {
        let of = |line: &Value| line["store"][*outcome].as_u64().unwrap_or(0);
        let found: u64 = routes.iter().map(of).sum();
        ensure!(
            found == *wanted,
            "{found} receipts have the outcome {outcome}, not {wanted}"
        );
    }
    Ok(())
}
