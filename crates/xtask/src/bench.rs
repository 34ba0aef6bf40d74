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

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use hookbox_testkit::servers::account::Account;
use hookbox_testkit::servers::folder::Folder;
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};
use serde_json::{Value, json};

use crate::install::Server;
use crate::repository;
use crate::test::provide_private;
use deployment::{Deployment, Urls};

/// The document that the result is written to.
const DOCUMENT: &str = "docs/BENCHMARKS.md";

/// The default number of events: enough for several seconds on a small machine.
const EVENTS: u32 = 20_000;

/// Part of an error message. Figures of servers on another machine would not describe this machine.
const PRIVATE: &str = "the bench needs private servers of its own on this machine";

const HELP: &str = "cargo xtask bench [--events N] [--json]";

/// Measures, writes the document, and prints it, or with `--json` the bare figures.
///
/// # Errors
/// When a server is missing, a build fails, or the outcomes are not the expected ones.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let request = Request::parse(arguments)?;
    // Missing servers are found and installed before the build, because the build takes minutes.
    provide_private(&[Server::Postgres, Server::Rabbitmq]).context(PRIVATE)?;
    build(&["--package", "hookbox"])?;
    build(&["--package", "hookbox-testkit", "--example", "floor"])?;
    let machine = machine::describe();
    let mut figures = measured(request.events).context(PRIVATE)?;
    figures["machine"] = machine;
    figures["events"] = request.events.into();
    let document = report::document(&figures);
    let path = repository::root().join(DOCUMENT);
    std::fs::write(&path, &document).with_context(|| format!("writing {DOCUMENT}"))?;
    if request.json {
        println!("{figures:#}");
    } else {
        print!("{document}");
    }
    Ok(ExitCode::SUCCESS)
}

/// The arguments of the command.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    events: u32,
    json: bool,
}

impl Request {
    fn parse(arguments: &[String]) -> Result<Request> {
        let mut request = Request {
            events: EVENTS,
            json: false,
        };
        let mut words = arguments.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "--json" => request.json = true,
                "--events" => {
                    let number = words.next().and_then(|number| number.parse().ok());
                    let number = number.filter(|number| *number > 0);
                    request.events = number.context("--events needs a number of events")?;
                }
                other => bail!("{other:?} is not an argument; it is: {HELP}"),
            }
        }
        Ok(request)
    }
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

/// Measures first what the servers alone can do, and then each pair of broker and store on the same
/// servers.
fn measured(events: u32) -> Result<Value> {
    let postgres = PostgresServer::start().context("starting PostgreSQL")?;
    let rabbitmq = RabbitmqServer::start().context("starting RabbitMQ")?;
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
    let program = deployment::release("examples/floor");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Request> {
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Request::parse(&words)
    }

    #[test]
    fn arguments_are_read() -> Result<()> {
        let (events, json) = (EVENTS, false);
        assert_eq!(parse(&[])?, Request { events, json });
        let (events, json) = (50, true);
        let given = parse(&["--events", "50", "--json"])?;
        assert_eq!(given, Request { events, json });
        for bad in [&["--events"][..], &["--events", "0"], &["--evnts"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        Ok(())
    }
}
