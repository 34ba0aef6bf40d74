//! `cargo xtask bench`: measures how many requests hookbox accepts and processes a second on this
//! machine, how long that takes, how much memory is needed, and what the servers alone can do.
//!
//! Everything runs as in production: the release binary, one process per role, and real servers
//! with their default durability settings. Every process that is started is ended by its id, also
//! after an error or Ctrl-C, and no file is left.

mod accounting;
mod arguments;
mod bench;
mod case;
mod cases;
mod deployment;
mod figure;
mod fill;
mod floor;
mod floors;
mod load;
mod machine;
mod percentile;
mod program;
mod report;
mod repository;
mod run;
mod servers;
mod service;
mod store;

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::arguments::Arguments;
use crate::bench::Bench;
use crate::case::CASES;
use crate::floors::{Floor, Floors};
use crate::program::Program;
use crate::run::Run;
use crate::servers::Servers;

/// The document with the dated table.
const DOCUMENT: &str = "docs/BENCHMARKS.md";

/// Measures, and prints the figures. Fails if a case could not be measured; a goal that is missed
/// is a result, and no failure.
fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.list {
        for case in CASES {
            println!("{:24} {}", case.name, case.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let cases = arguments.cases()?;
    let programs = programs(&arguments)?;
    let machine = machine::describe(arguments.quick);
    // One thread sends all requests, because more threads would take processor time from the build
    // that is measured.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let needs_servers = cases.iter().any(|case| case.needs_servers);
    let servers = needs_servers.then(Servers::start).transpose()?;
    let wanted: BTreeSet<Floor> = cases.iter().flat_map(|case| case.floors).copied().collect();
    let is_wanted = |floor: &Floor| arguments.peers || *floor != Floor::GraphileWorker;
    let wanted: Vec<Floor> = wanted.into_iter().filter(is_wanted).collect();
    let mut absent = Vec::new();
    let runs = if arguments.quick { 1 } else { arguments.runs };
    let quick = arguments.quick;
    let floors = floors(&wanted, runs, quick, servers.as_ref(), &mut absent)?;
    let mut run = Run {
        floors,
        absent,
        runs,
        lines: Vec::new(),
        failed: Vec::new(),
    };
    for case in cases {
        for program in &programs {
            let bench = Bench {
                program,
                servers: servers.as_ref(),
                runtime: &runtime,
                runs,
                is_quick: arguments.quick,
                stored: (arguments.stored * 1e6) as u64,
                began: Instant::now(),
                case: case.name,
            };
            run.measure(case, &bench);
        }
    }
    let versions = servers.as_ref().map_or(&Value::Null, Servers::versions);
    if arguments.json {
        println!("{:#}", report::json(&run, &machine, versions));
    } else {
        print!("{}", report::table(&run));
    }
    if arguments.write && run.failed.is_empty() {
        let path = repository::root().join(DOCUMENT);
        let document = std::fs::read_to_string(&path).context("reading the document")?;
        let dated = report::dated(&run, &machine, versions);
        std::fs::write(&path, report::replaced(&document, &dated)?)?;
    }
    Ok(if run.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn floors(
    wanted: &[Floor],
    runs: usize,
    is_quick: bool,
    servers: Option<&Servers>,
    absent: &mut Vec<String>,
) -> Result<Floors> {
    // The clients that measure the floors may use all cores, because hookbox may use them too.
    let runtime: Runtime = Builder::new_multi_thread().enable_all().build()?;
    floor::measure(wanted, runs, is_quick, servers, &runtime, absent)
}

/// Returns the builds to measure. The build of this tree is the first one.
fn programs(arguments: &Arguments) -> Result<Vec<Program>> {
    let ours = match &arguments.built {
        Some(path) => Program::parse(&path.to_string_lossy()),
        None => {
            build()?;
            Program {
                name: String::new(),
                path: repository::release("hookbox"),
            }
        }
    };
    let ours = Program {
        name: "this".to_owned(),
        ..ours
    };
    let all: Vec<Program> = std::iter::once(ours).chain(arguments.others()).collect();
    if let Some(missing) = all.iter().find(|program| !program.path.is_file()) {
        bail!("there is no program {}", missing.path.display());
    }
    Ok(all)
}

fn build() -> Result<()> {
    let status = repository::cargo()
        .args(["build", "--release", "--package", "hookbox"])
        .status()
        .context("running cargo build")?;
    if !status.success() {
        bail!("cargo build --release failed");
    }
    Ok(())
}
