//! `cargo xtask fuzz`: passes mutations of committed inputs (the corpus) to every parser that reads
//! untrusted input. The same seed repeats a run.
//!
//! `cargo fuzz` needs a nightly compiler, and libFuzzer an unsafe entry point. This fuzzer runs on
//! the compiler that builds hookbox and has no unsafe code. Instead of coverage it uses the *class*
//! of each result of a parser, such as the kind of an error: an input whose result has a new class
//! joins the corpus of the run and is mutated further.

mod corpus;
mod engine;
mod minimise;
mod mutate;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use hookbox_testkit::chance::fresh_seed;
use serde_json::json;

use engine::{Engine, RunResult};
use target::TARGETS;

/// Feeds every parser that reads untrusted input with mutations of a corpus
#[derive(Debug, Parser)]
#[command(name = "fuzz")]
struct Arguments {
    /// Runs only this target [default: all]
    #[arg(long)]
    target: Option<String>,
    /// The number of inputs for each target
    #[arg(long, default_value_t = 100_000)]
    runs: u64,
    /// The seed of all random choices; the same seed repeats a run [default: a random one]
    #[arg(long)]
    seed: Option<u64>,
    /// The number of threads; a run is repeated only with the same number
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    threads: u8,
    /// Tries only the input in this file, and does not shorten it
    #[arg(long, requires = "target")]
    input: Option<PathBuf>,
    /// Runs fewer inputs, as many as every change must pass
    #[arg(long)]
    ci: bool,
    /// Lists the targets, and runs nothing
    #[arg(long)]
    list: bool,
    /// Prints one JSON object for each target
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    // Each failure is reported with its input. The default panic hook is replaced, because it would
    // also print a backtrace for every copy that is tried while the input is shortened.
    std::panic::set_hook(Box::new(|_| {}));
    run(&Arguments::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        for target in TARGETS {
            println!("{:<10} {}", target.name, target.what);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let wanted = |name: &str| arguments.target.as_deref().is_none_or(|it| it == name);
    ensure!(
        TARGETS.iter().any(|target| wanted(target.name)),
        "there is no target of this name; --list shows the targets"
    );
    let seed = arguments.seed.unwrap_or_else(fresh_seed);
    eprintln!("seed {seed}");
    let mut failed = 0;
    for target in TARGETS.iter().filter(|target| wanted(target.name)) {
        let engine = Engine {
            target,
            seed,
            threads: arguments.threads,
            runs: arguments.runs / if arguments.ci { target.ci_divisor } else { 1 },
        };
        let ended = match &arguments.input {
            Some(path) => {
                let read = || format!("reading {}", path.display());
                engine.one(&std::fs::read(path).with_context(read)?)
            }
            None => engine.run()?,
        };
        print_summary(arguments, &engine, &ended);
        failed += usize::from(ended.failure.is_some());
    }
    println!(
        "{} targets hold, {failed} failed",
        TARGETS.len().min(ended_of(arguments)) - failed
    );
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn ended_of(arguments: &Arguments) -> usize {
    match arguments.target {
        Some(_) => 1,
        None => TARGETS.len(),
    }
}

fn print_summary(arguments: &Arguments, engine: &Engine<'_>, ended: &RunResult) {
    let name = engine.target.name;
    let again = ended.failure.as_ref().map(|failure| {
        format!(
            "cargo xtask fuzz --target {name} --input {}",
            failure.file.display()
        )
    });
    let why = ended.failure.as_ref().map(|failure| failure.why.as_str());
    if arguments.json {
        println!(
            "{}",
            json!({
                "target": name, "seed": engine.seed, "runs": ended.runs, "classes": ended.classes,
                "seconds": ended.seconds, "result": if why.is_some() { "failed" } else { "held" },
                "why": why, "again": again,
            })
        );
        return;
    }
    println!(
        "{} {name:<10} {:>9} inputs, {:>4} classes, {:>6.1} s",
        if why.is_some() { "FAILED" } else { "held  " },
        ended.runs,
        ended.classes,
        ended.seconds
    );
    if let (Some(why), Some(again)) = (why, again) {
        println!("{why}\nrepeat it with: {again}");
    }
}
