//! How fast dead letters are replayed and processed. First a JSON Schema refuses every event, so
//! that each becomes a dead letter. Then the workers run with the provider's own JSON Schema, and
//! one command replays all dead letters. The time is from the start of the command until no event
//! is a dead letter.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hookbox_testkit::servers::process::wait_until;

use crate::bench::Bench;
use crate::cases::processed::Drain;
use crate::deployment::{Config, Role, Storage};
use crate::figure::{Figure, Goal, Unit};
use crate::load::Kind;

/// The folder of the JSON Schema that refuses every event.
const FOLDER: &str = "refusing";

/// The most time that the replay may take.
const REPLAYED_MAX: Duration = Duration::from_secs(1_800);

pub(crate) fn measure(bench: &Bench<'_>) -> Result<Vec<Figure>> {
    let config = Config::of(Storage::Servers, "begini");
    let mut drain = Drain::new(bench, config, Kind::Good)?;
    let folder = drain.deployment.folder.subfolder(FOLDER)?;
    let schema = format!("{FOLDER}/psychometric_score.complete.json");
    drain.deployment.folder.write(&schema, r#"{ "not": {} }"#)?;
    ensure!(
        folder.is_dir(),
        "the folder with the JSON Schema was not created"
    );
    let events = bench.amount(100_000, 500);
    let (mut rates, mut sent) = (Vec::new(), 0);
    for run in 1..=bench.runs {
        bench.say(&format!("run {run} of {}: {events} events die", bench.runs));
        drain.deployment.configure(Config {
            source: r#"schemas = "refusing""#,
            ..config
        })?;
        drain.commits(events, 2)?;
        drain.deployment.configure(config)?;
        drain.deployment.start(Role::Worker)?;
        drain.deployment.start(Role::Worker)?;
        bench.say("replaying");
        let began = Instant::now();
        let command = [
            "dead", "replay", "--all", "--yes", "--by", "bench", "--json",
        ];
        let output = drain.deployment.hookbox(&command)?;
        let dead = drain.deployment.store.clone();
        let gone = wait_until(REPLAYED_MAX, || {
            let dead = bench.runtime.block_on(dead.dead());
            dead.is_ok_and(|dead| dead == 0)
        });
        ensure!(
            gone,
            "there are still dead letters {REPLAYED_MAX:?} after the start of their replay: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        rates.push(events as f64 / began.elapsed().as_secs_f64());
        drain.deployment.stop(Role::Worker)?;
        sent += events;
    }
    drain.check(&[("done", sent)])?;
    let rate = Figure::new("replayed and processed", Unit::PerSecond, rates);
    Ok(vec![rate.goal(Goal::AtLeast(5_000.0))])
}
