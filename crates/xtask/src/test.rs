//! `cargo xtask test`: runs every test, with real servers, on a machine where nothing is set up.

pub mod again;
pub mod fast;

use std::env;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use hookbox_testkit::servers::account::Account;
use hookbox_testkit::servers::data_folder::{PREPARED, Prepared};
use hookbox_testkit::servers::folder::{Ending, Folder};
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer, find, interpreters};

use crate::install::{self, Server};
use crate::repository;
use crate::tally::Tally;
use again::Failures;

/// The environment variable with the URL of a PostgreSQL server to use instead of a private one.
const POSTGRES_URL: &str = "HOOKBOX_TEST_POSTGRES_URL";

/// The environment variable that allows tests to leave a template database on the PostgreSQL
/// server: see `hookbox_driver_postgres::testing`. A private server is removed after the tests, and
/// the template with it.
const POSTGRES_TEMPLATE: &str = "HOOKBOX_TEST_POSTGRES_TEMPLATE";

/// The environment variable with the URL of a RabbitMQ server to use instead of a private one.
const AMQP_URL: &str = "HOOKBOX_TEST_AMQP_URL";

/// The environment variable with the number of tests that run at a time. Long tests mostly wait for
/// servers and for faults to end, so at least six run at a time, even on fewer cores.
const THREADS: &str = "RUST_TEST_THREADS";

/// Runs the tests, and failed ones once more: see [`again`]. The last line of the output is
/// `N passed, M failed`.
///
/// # Errors
/// When a server cannot be found or installed, or cargo cannot be run.
pub fn run(arguments: &[String], environment: &[(&str, &str)]) -> Result<ExitCode> {
    let request = Request::parse(arguments);
    build_binary(&request)?;
    if request.is_of_whole_program() {
        provide_private(&Server::INTERPRETERS)?;
    }
    let servers = Servers::start(request.is_of_whole_program())?;
    let ran = with_servers(&request.cargo, &servers, environment)
        .and_then(|ran| tried_again(ran, &request, &servers, environment));
    if request.keep {
        servers.keep()?;
    } else {
        drop(servers);
    }
    let Ran { status, tally, .. } = ran?;
    if status.success() && tally.passed + tally.failed == 0 {
        eprintln!("error: no test ran: the filter matches no test");
        println!("{tally}");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ended(status.success(), tally))
}

/// The result of one run of `cargo test`.
struct Ran {
    status: ExitStatus,
    tally: Tally,
    failures: Failures,
}

/// Prints the numbers of passed and failed tests, and returns the exit code of the run.
fn ended(succeeded: bool, tally: Tally) -> ExitCode {
    if !succeeded && tally.failed == 0 {
        eprintln!("error: cargo test failed without a failed test: see above");
    }
    println!("{tally}");
    if succeeded && tally.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Builds the binary if tests of the whole program are requested. Such tests start the binary, but
/// cargo builds it only for the tests of its own package.
fn build_binary(request: &Request) -> Result<()> {
    if !request.names(&["--workspace", "hookbox-tests", "hookbox-bench"]) {
        return Ok(());
    }
    let build = ["build", "--package", "hookbox"];
    let built = repository::cargo().args(build).status();
    let built = built.context("running cargo build")?;
    anyhow::ensure!(
        built.success(),
        "the binary that the tests start does not build: see above"
    );
    Ok(())
}

/// The arguments of the command.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    keep: bool,
    cargo: Vec<String>,
}

impl Request {
    fn parse(arguments: &[String]) -> Request {
        let end = arguments
            .iter()
            .position(|word| word == "--")
            .unwrap_or(arguments.len());
        let (ours, rest) = arguments.split_at(end);
        let keep = ours.iter().any(|word| word == "--keep");
        let names_packages = ours.iter().any(|word| {
            word.starts_with("-p") || word.starts_with("--package") || word == "--workspace"
        });
        let mut cargo = vec!["test".to_owned(), "--no-fail-fast".to_owned()];
        if !names_packages {
            cargo.push("--workspace".to_owned());
        }
        cargo.extend(ours.iter().filter(|word| *word != "--keep").cloned());
        cargo.extend_from_slice(rest);
        Request { keep, cargo }
    }

    /// Returns whether one of these words is among the arguments.
    fn names(&self, words: &[&str]) -> bool {
        self.cargo.iter().any(|word| words.contains(&word.as_str()))
    }

    /// Returns whether tests of the package `hookbox-tests` are requested.
    fn is_of_whole_program(&self) -> bool {
        self.names(&["--workspace", "hookbox-tests"])
    }
}

/// The servers of a test run: private ones, except those that the caller names.
struct Servers {
    postgres: Option<PostgresServer>,
    rabbitmq: Option<RabbitmqServer>,
    /// The data that the servers of single tests begin with.
    prepared: Option<Prepared>,
}

impl Servers {
    fn start(of_whole_program: bool) -> Result<Servers> {
        let postgres = private(Server::Postgres, POSTGRES_URL);
        let rabbitmq = private(Server::Rabbitmq, AMQP_URL);
        let beside = [Server::Pgbouncer, Server::Nginx, Server::Faketime].map(Some);
        let all = [postgres, rabbitmq].into_iter().chain(beside);
        provide(&all.flatten().collect::<Vec<_>>())?;
        // The servers start in parallel: PostgreSQL takes a second, RabbitMQ eight.
        let (postgres, prepared, rabbitmq) = thread::scope(|scope| {
            let rabbitmq = rabbitmq.map(|_| scope.spawn(RabbitmqServer::start));
            let prepared = postgres.filter(|_| of_whole_program);
            let prepared = prepared.map(|_| Prepared::make());
            let postgres = postgres.map(|_| PostgresServer::start());
            (postgres, prepared, rabbitmq.map(|starting| starting.join()))
        });
        let prepared = prepared
            .transpose()
            .context("preparing data of PostgreSQL")?;
        let postgres = postgres.transpose().context("starting PostgreSQL")?;
        let rabbitmq = match rabbitmq {
            Some(Ok(started)) => Some(started.context("starting RabbitMQ")?),
            Some(Err(_)) => bail!("starting RabbitMQ panicked"),
            None => None,
        };
        if let Some(it) = &postgres {
            eprintln!(
                "PostgreSQL {}: private, on 127.0.0.1:{}",
                it.version(),
                it.port()
            );
        }
        if let Some(it) = &rabbitmq {
            eprintln!(
                "RabbitMQ {}: private, on 127.0.0.1:{}",
                it.version(),
                it.port()
            );
        }
        Ok(Servers {
            postgres,
            rabbitmq,
            prepared,
        })
    }

    fn keep(self) -> Result<()> {
        let mut keepers = Vec::new();
        if let Some(postgres) = self.postgres {
            eprintln!("export {POSTGRES_URL}={}", postgres.url());
            eprintln!("export {POSTGRES_TEMPLATE}=1");
            keepers.push(postgres.keep()?.to_string());
        }
        if let Some(rabbitmq) = self.rabbitmq {
            eprintln!("export {AMQP_URL}={}", rabbitmq.url());
            keepers.push(rabbitmq.keep()?.to_string());
        }
        if !keepers.is_empty() {
            eprintln!(
                "the servers keep running; to end them: kill {}",
                keepers.join(" ")
            );
        }
        Ok(())
    }
}

/// Returns `server` if the tests need a private one. Returns `None` if the environment variable
/// `variable` names another server to use instead, and prints this.
fn private(server: Server, variable: &str) -> Option<Server> {
    if env::var_os(variable).is_some_and(|value| !value.is_empty()) {
        eprintln!("{}: using the server that {variable} names", server.name());
        return None;
    }
    Some(server)
}

/// Installs the servers that are missing on this machine. If that fails, the error advises to name
/// other servers.
pub fn provide(servers: &[Server]) -> Result<()> {
    let advice = format!("or name servers of your own in {POSTGRES_URL} and {AMQP_URL}");
    provide_private(servers).map_err(|error| anyhow!("{error:#}\n{advice}"))
}

/// Installs the servers that are missing on this machine, for a caller that cannot use other
/// servers.
pub fn provide_private(servers: &[Server]) -> Result<()> {
    let missing = |server: &Server| match server {
        Server::Postgres => find::postgres().map(drop).err(),
        Server::Rabbitmq => find::rabbitmq().map(drop).err(),
        Server::Pgbouncer => find::pgbouncer().map(drop).err(),
        Server::Nginx => find::nginx().map(drop).err(),
        Server::Faketime => find::faketime().map(drop).err(),
        Server::Python => interpreters::python().err(),
        Server::Node => interpreters::node().err(),
    };
    let wanted: Vec<Server> = servers
        .iter()
        .copied()
        .filter(|server| missing(server).is_some())
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    for error in wanted.iter().filter_map(missing) {
        eprintln!("{error}");
    }
    install::install(&wanted)?;
    if let Some(error) = wanted.iter().find_map(missing) {
        bail!("{error}, and the package manager has no newer version; install it in another way");
    }
    Ok(())
}

/// Runs the failed tests again, one at a time and without the others. Returns the result of both
/// runs together if all of them pass, and the result `ran` of the first run otherwise.
fn tried_again(
    ran: Ran,
    request: &Request,
    servers: &Servers,
    environment: &[(&str, &str)],
) -> Result<Ran> {
    let names = ran.failures.to_run_again(ran.tally);
    if names.is_empty() || again::is_once() {
        return Ok(ran);
    }
    eprintln!(
        "these tests failed and are now run again alone: {}",
        names.join(" ")
    );
    let one = [environment, &[(THREADS, "1")]].concat();
    let again = with_servers(&again::arguments(&request.cargo, names), servers, &one)?;
    if !again.status.success() || again.tally.passed < names.len() as u64 {
        return Ok(ran);
    }
    for name in names {
        println!("flaky: {name} failed in the suite and passed alone: its cause has to be found");
    }
    Ok(Ran {
        tally: again::together(ran.tally),
        ..again
    })
}

/// Runs tests with these servers.
fn with_servers(words: &[String], servers: &Servers, environment: &[(&str, &str)]) -> Result<Ran> {
    run_cargo(words, environment, |command| {
        if let Some(postgres) = &servers.postgres {
            command.env(POSTGRES_URL, postgres.url());
            command.env(POSTGRES_TEMPLATE, "1");
        }
        if let Some(prepared) = &servers.prepared {
            command.env(PREPARED, prepared.path());
        }
        if let Some(rabbitmq) = &servers.rabbitmq {
            command.env(AMQP_URL, rabbitmq.url());
        }
    })
}

/// Runs `cargo test`, shows its output while it runs, and counts the results.
///
/// Cargo runs in its own process group. Another process, the keeper of the folder, watches this
/// program. If this program ends in any way, even by SIGKILL, the keeper ends the compiler and the
/// test programs, so that they do not continue without their servers.
fn run_cargo(
    words: &[String],
    environment: &[(&str, &str)],
    prepare: impl FnOnce(&mut Command),
) -> Result<Ran> {
    let folder = Folder::new("run", Account::Ourselves)?;
    let mut command = folder.watched(Path::new(&repository::cargo_program()), Ending::Kill);
    repository::without_package(&mut command)
        .current_dir(repository::root())
        .args(words);
    if env::var_os(THREADS).is_none() {
        let threads = thread::available_parallelism()?.get().max(6);
        command.env(THREADS, threads.to_string());
    }
    command.envs(environment.iter().copied());
    prepare(&mut command);
    eprintln!("cargo {}", words.join(" "));
    let mut cargo = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting cargo test")?;
    let (tally, failures) =
        show_and_count(&mut cargo).context("reading the output of cargo test")?;
    let status = cargo.wait().context("waiting for cargo test")?;
    folder.forget(cargo.id());
    Ok(Ran {
        status,
        tally,
        failures,
    })
}

fn show_and_count(cargo: &mut Child) -> io::Result<(Tally, Failures)> {
    let (mut tally, mut failures) = (Tally::default(), Failures::default());
    let Some(output) = cargo.stdout.take() else {
        return Ok((tally, failures));
    };
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line)? > 0 {
        io::stdout().write_all(&line)?;
        io::stdout().flush()?;
        let text = String::from_utf8_lossy(&line);
        tally.add(&text);
        failures.add(&text);
        line.clear();
    }
    Ok((tally, failures))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Request {
        Request::parse(
            &words
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn arguments_are_passed_to_cargo() {
        let check = |words, keep, cargo: &str| {
            let cargo = cargo.split_whitespace().map(str::to_owned).collect();
            assert_eq!(parse(words), Request { keep, cargo }, "{words}");
        };
        check("", false, "test --no-fail-fast --workspace");
        check("--keep", true, "test --no-fail-fast --workspace");
        check("-- wire", false, "test --no-fail-fast --workspace -- wire");
        check(
            "-p hookbox-event -- --keep",
            false,
            "test --no-fail-fast -p hookbox-event -- --keep",
        );
        check(
            "--package=xtask --keep",
            true,
            "test --no-fail-fast --package=xtask",
        );
        check("-- -p", false, "test --no-fail-fast --workspace -- -p");
    }
}
