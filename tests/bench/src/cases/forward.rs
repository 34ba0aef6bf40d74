//! How many events a second one worker posts with the handler `forward` to a service of the bench,
//! with at most 256 calls in flight, and how much processor time the worker needs for each event.
//! The queue is full when the worker starts. The rate is that between the first and the last commit
//! of outcomes.
//!
//! One service answers at once. Another one takes 200 ms for each request, so that its rate shows
//! whether as many calls are in flight as the config allows.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::processed::Drain;
use crate::bench::Bench;
use crate::deployment::{Config, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::floors::Floor;
use crate::load::Kind;
use crate::service::Service;

/// The most calls in flight, as the config sets it.
const CALLS: u32 = 256;

/// How long the slow service takes for each request.
const TAKES: Duration = Duration::from_millis(200);

/// With the slow service, at most `CALLS / TAKES` events a second are possible. The rate must be at
/// least this share of that number. The rest is lost because each call also waits for the commits
/// of its lease and its outcome.
const SHARE: f64 = 0.9;

/// The key that signs the requests. It need not be secret, because only the deployment of this case
/// uses it.
const KEY: &str = "dGhlLWtleS1vZi10aGUtYmVuY2htYXJrLWFsb25l";

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let (fast, slow) = (Service::start(Duration::ZERO)?, Service::start(TAKES)?);
    let (to_fast, to_slow) = (settings(&fast), settings(&slow));
    let mut drain = Drain::new(bench, config(&to_fast), Kind::Good)?;
    drain.deployment.folder.write("service.key", KEY)?;
    drain.commits(bench.amount(4_000, 64), 1)?;
    let (events, fewer) = (bench.amount(30_000, 640), bench.amount(10_000, 640));
    let (mut rates, mut times, mut slow_rates) = (vec![], vec![], vec![]);
    for run in 1..=bench.runs {
        bench.say(&format!("run {run} of {}", bench.runs));
        drain.deployment.configure(config(&to_fast))?;
        let (rate, time) = drain.run_with_time(events)?;
        rates.push(rate);
        times.push(time);
        drain.deployment.configure(config(&to_slow))?;
        slow_rates.push(drain.run(fewer, 1)?);
    }
    drain.check(&[])?;
    let (answered, sent) = (fast.answered() + slow.answered(), drain.sent());
    ensure!(
        answered >= sent,
        "{sent} events are done, but the services have answered only {answered} requests"
    );
    let possible = f64::from(CALLS) / TAKES.as_secs_f64();
    let slow_rate = Figure::new(
        "forwarded, answered after 200 ms",
        Unit::PerSecond,
        slow_rates,
    );
    let most = vec![slow.most_in_flight() as f64];
    let most = Figure::new("calls in flight at most", Unit::Count, most);
    Ok(vec![
        Figure::new("forwarded, answered at once", Unit::PerSecond, rates)
            .floors(&[Floor::JobTable])
            .goal(Goal::TimesFloor(1.0)),
        Figure::new(
            "processor time of the worker for an event",
            Unit::Microseconds,
            times,
        ),
        slow_rate.goal(Goal::AtLeast(SHARE * possible)),
        most.goal(Goal::AtLeast(f64::from(CALLS))),
    ])
}

fn config(settings: &str) -> Config<'_> {
    Config {
        settings,
        ..Config::of(Storage::Servers, "forward")
    }
}

/// Returns the settings of `forward` for a service.
fn settings(service: &Service) -> String {
    format!(
        r#"url = "http://127.0.0.1:{}/hooks"
private_host = "127.0.0.1"
secrets = [{{ id = "bench", file = "service.key" }}]
concurrency = {CALLS}"#,
        service.port
    )
}
