//! How long one process that is ingest and worker needs from its start to the first answer with
//! status 200, with a million events stored in its SQLite file.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::time::{sleep, timeout};

use crate::accounting;
use crate::bench::Bench;
use crate::deployment::{Config, Deployment, Role, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::fill;
use crate::load::{Connection, Kind};

/// The pause before a request that was not accepted is sent again.
const PAUSE: Duration = Duration::from_millis(1);

/// The most time that a start may take.
const START_MAX: Duration = Duration::from_secs(60);

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let mut deployment = Deployment::new(bench, Config::of(Storage::OneFile, "begini"))?;
    let stored = bench.amount(1_000_000, 2_000);
    fill::fill(bench, &deployment.store, stored)?;
    let mut times = Vec::new();
    for run in 1..=bench.runs as u64 {
        bench.say(&format!("start {run} of {}", bench.runs));
        let request = deployment.requests(Kind::Good).bytes(run);
        let began = Instant::now();
        deployment.spawn(Role::All)?;
        let answered = first_200(deployment.port, &request);
        let answered = async { timeout(START_MAX, answered).await };
        bench
            .runtime
            .block_on(answered)
            .with_context(|| format!("no request was answered 200:\n{}", deployment.logs()))?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
        accounting::wait_settled(&deployment, bench, run)?;
        deployment.stop(Role::All)?;
    }
    // When the last process ended, it left its accept report in the queue. One more process has to
    // run and store that report before the accounting is complete.
    deployment.start(Role::All)?;
    accounting::check(&deployment, &[("done", stored + bench.runs as u64)])?;
    let name = format!("start to the first 200, {} stored", fill::amount(stored));
    let time = Figure::new(name, Unit::Milliseconds, times);
    Ok(vec![time.goal(Goal::AtMost(100.0))])
}

/// Sends a request until it is accepted.
async fn first_200(port: u16, request: &[u8]) {
    loop {
        let sent = async { Connection::open(port).await?.exchange(request).await };
        if sent.await.is_ok_and(|response| response.status == 200) {
            return;
        }
        sleep(PAUSE).await;
    }
}
