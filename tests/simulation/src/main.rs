//! `hookbox-simulation`: runs many seeds and stops at the first that breaks an invariant.

mod in_order;

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::thread::available_parallelism;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::Parser;
use hookbox_simulation::{Fault, RunResult, Summary, run};
use serde_json::json;

/// The interval at which progress is printed.
const PROGRESS: Duration = Duration::from_secs(5);

/// Runs the engines over a simulated broker and store that fail, in virtual time.
#[derive(Parser)]
struct Arguments {
    /// The first seed [default: a random one]
    #[arg(long)]
    seed: Option<u64>,
    /// The number of seeds to run, each higher by one than the previous seed
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Print the whole trace of each run, not only the last lines of a failed run
    #[arg(long)]
    trace: bool,
    /// Continue after a seed that breaks an invariant
    #[arg(long)]
    keep_going: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let first = match arguments.seed {
        Some(seed) => seed,
        None => fresh_seed()?,
    };
    let began = Instant::now();
    let mut printed = began;
    let mut all = Summary::default();
    let mut failed: Vec<RunResult> = Vec::new();
    let mut out = std::io::stdout().lock();
    let threads = available_parallelism().context("counting the processors")?;
    let one = |it| run(first.wrapping_add(it), arguments.trace).context("starting a runtime");
    in_order::each(arguments.seeds, threads, one, |ran| {
        let ran = ran?;
        all.add(&ran.summary);
        for line in &ran.trace {
            writeln!(out, "{line}")?;
        }
        if ran.failed.is_some() {
            failed.push(ran);
            if !arguments.keep_going {
                return Ok(ControlFlow::Break(()));
            }
        }
        if printed.elapsed() >= PROGRESS && !arguments.json {
            printed = Instant::now();
            let (runs, of) = (all.runs, arguments.seeds);
            writeln!(out, "{runs} of {of} seeds, {} failed", failed.len())?;
            out.flush()?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    if arguments.json {
        let failed: Vec<_> = failed.iter().filter_map(|it| it.failed.as_ref()).collect();
        let failed = failed
            .iter()
            .map(|it| json!({ "seed": it.seed, "violations": it.violations }));
        let result = json!({
            "first_seed": first,
            "seconds": began.elapsed().as_secs_f64(),
            "summary": all.json(),
            "failed": failed.collect::<Vec<_>>(),
        });
        writeln!(out, "{result}")?;
    } else {
        print_summary(&mut out, first, &all, &failed, began.elapsed())?;
    }
    Ok(if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn fresh_seed() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.context("the clock is before 1970")?;
    // Seven digits are short enough for people to read a seed out to each other.
    Ok(u64::from(now.subsec_micros()) * 10 + now.as_secs() % 10)
}

fn print_summary(
    out: &mut impl Write,
    first: u64,
    all: &Summary,
    failed: &[RunResult],
    took: Duration,
) -> Result<()> {
    for ran in failed {
        if let Some(failed) = &ran.failed {
            writeln!(out, "{failed}\n")?;
        }
    }
    let struck = |it: &&Fault| all.faults.contains_key(it);
    let faults = Fault::ALL.iter().filter(struck);
    for fault in faults {
        writeln!(out, "{:>8}  {}", all.faults[fault], fault.as_str())?;
    }
    let rate = all.runs as f64 / took.as_secs_f64().max(0.001);
    writeln!(
        out,
        "{} seeds from {first}: {} failed; {rate:.0} seeds/s; {} accepted, {} effects, {} calls, \
         {} dead letters, {} failed attempts, {} virtual hours",
        all.runs,
        failed.len(),
        all.accepted,
        all.effects,
        all.calls,
        all.dead,
        all.failures,
        all.time.as_secs() / 3_600
    )?;
    Ok(())
}
