//! `cargo xtask chaos`: inflicts faults on the real binary, a real PostgreSQL and a real RabbitMQ,
//! and checks that no event is lost or doubled.

mod amqp;
mod answers;
mod arguments;
mod case;
mod catalog;
mod checker;
mod cluster;
mod effects;
mod fault;
mod inflict;
mod invariants;
mod journal;
mod load;
mod matrix;
mod mutants;
mod node;
mod others;
mod outcome;
mod pair;
mod place;
mod plan;
mod power_loss;
mod publish;
mod report;
mod repository;
mod run;
mod scenario;
mod servers;
mod soak;
mod spool;
mod sql;
mod tally;
mod target_call;
mod target_exchange;
mod target_outage;
mod targets;
mod used;
mod user_route;
mod worker_kills;
mod world;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use arguments::Arguments;
use case::Proof;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        // It is not an error if the reader of the output closes the pipe early.
        let _ = list();
        return ExitCode::SUCCESS;
    }
    let ended = if arguments.report {
        write_page().map(|()| ExitCode::SUCCESS)
    } else if arguments.mutants && arguments.build {
        mutants::build(&arguments)
    } else if arguments.mutants {
        mutants::run(&arguments)
    } else {
        run::Run::new(&arguments).all()
    };
    ended.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Writes docs/FAULTS.md, and prints the status of each case.
fn write_page() -> anyhow::Result<()> {
    report::page::write()?;
    let status = report::standing::status()?;
    // It is not an error if the reader of the output closes the pipe early.
    let _ = writeln!(io::stdout(), "{status}");
    Ok(())
}

/// Prints each case with its promise and its proofs.
fn list() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for case in catalog::all() {
        let proofs: Vec<String> = case.proofs.iter().map(Proof::label).collect();
        writeln!(out, "{:>2}  {}\n    {}", case.number, case.name, case.what)?;
        writeln!(out, "    {}", proofs.join("\n    "))?;
    }
    let points = hookbox_crash::POINTS.len();
    writeln!(
        out,
        "crash/POINT:1 and crash/POINT:2: a crash at the first and the second passing of POINT, \
         which is one of {points} crash points"
    )
}
