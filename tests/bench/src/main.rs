//! `cargo xtask bench`: measures how many requests hookbox accepts and processes per second on this
//! machine, how long an answer takes, how much memory is needed, and what the servers alone can do.
//!
//! Everything runs as in production: the release binary, one process per role, and real servers
//! with their default durability settings. Every process that is started is ended by its id, also
//! after an error.

mod deployment;
mod machine;
mod measure;
mod report;
mod repository;

use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::{Parser, value_parser};
use hookbox_testkit::servers::account::Account;
use hookbox_testkit::servers::folder::Folder;
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};
use serde_json::{Value, json};

use crate::deployment::{Deployment, Urls};

/// The document that the result is written to.
const DOCUMENT: &str = "docs/BENCHMARKS.md";

/// The default number of events: enough for several seconds on a small machine.
const EVENTS: u32 = 20_000;

/// What is added to an error when a server cannot be started. The bench never uses servers that the
/// caller names, because figures of servers on another machine would not describe this machine.
const PRIVATE: &str = "the bench needs private servers of its own on this machine";

/// Measures the release build on private servers, beside what the servers alone can do.
#[derive(Parser)]
#[command(name = "cargo xtask bench")]
struct Arguments {
    /// The number of events that each pair of broker and store is measured with
    #[arg(long, value_name = "N", default_value_t = EVENTS)]
    #[arg(value_parser = value_parser!(u32).range(1..))]
    events: u32,
    /// Print the bare figures as JSON instead of the document
    #[arg(long)]
    json: bool,
}

/// Measures, writes the document, and prints it, or with `--json` the bare figures.
fn main() -> Result<()> {
    let arguments = Arguments::parse();
    build(&["--package", "hookbox"])?;
    build(&["--package", "hookbox-bench", "--example", "floor"])?;
    let machine = machine::describe();
    let mut figures = measured(arguments.events)?;
    figures["machine"] = machine;
    figures["events"] = arguments.events.into();
    let document = report::document(&figures);
    let path = repository::root().join(DOCUMENT);
    std::fs::write(&path, &document).with_context(|| format!("writing {DOCUMENT}"))?;
    if arguments.json {
        println!("{figures:#}");
    } else {
        print!("{document}");
    }
    Ok(())
}

fn build(what: &[&str]) -> Result<()> {
    let status = repository::cargo()
        .args(["build", "--release"])
        .args(what)
        .status()
        .context("running cargo build")?;
    if !status.success() {
        bail!("cargo build --release {} failed", what.join(" "));
    }
    Ok(())
}

/// Measures first what the servers alone can do, and then hookbox with each pair of a broker and a
/// store on the same servers.
fn measured(events: u32) -> Result<Value> {
    let postgres = PostgresServer::start().context(PRIVATE)?;
    let rabbitmq = RabbitmqServer::start().context(PRIVATE)?;
    let urls = Urls {
        postgres: postgres.url().to_owned(),
        amqp: rabbitmq.url().to_owned(),
    };
    eprintln!("measuring what the servers alone can do");
    let floors = floors(&urls)?;
    let mut pairs = Vec::new();
    for (name, urls) in [("RabbitMQ + PostgreSQL", Some(&urls)), ("SQLite", None)] {
        eprintln!("measuring {name}");
        let deployment = Deployment::start(urls).with_context(|| format!("starting {name}"))?;
        let figures = measure::pair(&deployment, events);
        let figures = figures.with_context(|| {
            let logs = deployment.logs();
            format!("measuring {name}; the ends of the logs:\n{logs}")
        })?;
        pairs.push(json!({ "name": name, "figures": figures }));
    }
    Ok(json!({
        "versions": {
            "postgresql": postgres.version().to_string(),
            "rabbitmq": rabbitmq.version().to_string(),
            "sqlite": floors["sqlite_version"],
        },
        "floors": floors,
        "pairs": pairs,
    }))
}

fn floors(urls: &Urls) -> Result<Value> {
    let folder = Folder::new("floor", Account::Ourselves)?;
    let program = repository::release("examples/floor");
    // The program runs for a short time and ends by itself, so no watchdog process is needed to end
    // it.
    let output = Command::new(program)
        .arg(folder.path())
        .env("DATABASE_URL", &urls.postgres)
        .env("AMQP_URL", &urls.amqp)
        .output()
        .context("running the floors")?;
    if !output.status.success() {
        bail!(
            "measuring the servers alone failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout).context("reading the floors")
}
