//! Decides which tests need no server: `cargo xtask test --fast` runs exactly those.
//!
//! Unit tests need no server, except in a module named [`CANARIES`]; examples and the code in the
//! documentation need none either. Each target in a `tests/` folder is listed once in [`TARGETS`],
//! with the reason if it needs a server. A test compares the list with what cargo reports. In a
//! fast run every start of a server fails (`HOOKBOX_TEST_NO_SERVERS`), so that a test that needs a
//! server is noticed.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::repository;

/// The name of a module whose unit tests need a server. Each of these tests checks that a known
/// fault of a library or a server still exists. They are unit tests because they use private items
/// of the driver.
pub const CANARIES: &str = "canaries::";

/// What a test target needs to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// No server.
    Nothing,
    /// The target needs servers, except in the modules whose names begin with one of these.
    ServersExceptIn(&'static [&'static str]),
    /// The target needs servers, for this reason.
    Servers(&'static str),
}

/// A target in a `tests/` folder. Its name is unique in the workspace, because cargo selects
/// targets by name.
pub struct Target {
    /// The name that `cargo test --test` takes.
    pub name: &'static str,
    /// What the target needs to run.
    pub needs: Needs,
}

/// Every target in a `tests/` folder.
pub const TARGETS: &[Target] = &[
    fast("bench_case"),
    fast("calls"),
    fast("commands"),
    fast("engine"),
    fast("http"),
    fast("mutants"),
    fast("process"),
    fast("seeds"),
    fast("spool"),
    // The conformance suite needs only a file to test the SQLite driver, and a server to test each
    // of the other drivers.
    Target {
        name: "drivers",
        needs: Needs::ServersExceptIn(&["sqlite_store::", "sqlite_broker::"]),
    },
    servers(
        "postgres",
        "tests the PostgreSQL driver with a real PostgreSQL",
    ),
    servers("rabbit", "tests the RabbitMQ driver with a real RabbitMQ"),
    servers("servers", "tests how private servers are started and ended"),
    servers("journeys", "tests the real binary while real servers fail"),
    servers(
        "cli",
        "tests the commands of the real binary, most of which use servers",
    ),
];

const fn fast(name: &'static str) -> Target {
    let needs = Needs::Nothing;
    Target { name, needs }
}

const fn servers(name: &'static str, why: &'static str) -> Target {
    let needs = Needs::Servers(why);
    Target { name, needs }
}

/// Returns the arguments of cargo that select the unit tests of all libraries, and those that
/// select the unit tests of all programs and the examples.
///
/// # Errors
/// When cargo does not list the examples.
pub fn units() -> Result<[Vec<String>; 2]> {
    let libraries = vec!["--lib".to_owned()];
    let mut programs = vec!["--bins".to_owned()];
    for example in listed_by_cargo("example")? {
        programs.extend(["--example".to_owned(), example]);
    }
    Ok([libraries, programs])
}

/// Returns the arguments of cargo that select the targets in `tests/` folders that need no server.
pub fn targets() -> Vec<String> {
    let fast = TARGETS.iter().filter(|it| it.needs == Needs::Nothing);
    fast.flat_map(|target| ["--test".to_owned(), target.name.to_owned()])
        .collect()
}

/// Returns the targets of which some modules need servers, each with the modules that need none.
pub fn parts() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    TARGETS.iter().filter_map(|target| match target.needs {
        Needs::ServersExceptIn(modules) => Some((target.name, modules)),
        Needs::Nothing | Needs::Servers(_) => None,
    })
}

/// Returns the targets that are left out as a whole because they need servers, each with the
/// reason.
pub fn left_out() -> impl Iterator<Item = (&'static str, &'static str)> {
    TARGETS.iter().filter_map(|target| match target.needs {
        Needs::Servers(why) => Some((target.name, why)),
        Needs::Nothing | Needs::ServersExceptIn(_) => None,
    })
}

/// Returns the sorted names of all targets of a kind that `cargo test` runs.
fn listed_by_cargo(kind: &str) -> Result<Vec<String>> {
    let words = [
        "metadata",
        "--format-version",
        "1",
        "--no-deps",
        "--offline",
    ];
    let output = repository::cargo().args(words).output();
    let output = output.context("running cargo metadata")?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("reading the output of cargo metadata")?;
    let packages = metadata["packages"].as_array().context("no packages")?;
    let targets = packages.iter().filter_map(|it| it["targets"].as_array());
    let mut names: Vec<String> = targets
        .flatten()
        .filter(|target| target["kind"][0] == kind && target["test"] == true)
        .filter_map(|target| Some(target["name"].as_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_listed_once() -> Result<()> {
        let mut listed: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        listed.sort_unstable();
        let fix = "list each test target once in TARGETS of crates/xtask/src/needs.rs";
        assert_eq!(listed, listed_by_cargo("test")?, "{fix}");
        Ok(())
    }

    #[test]
    fn a_target_that_needs_servers_is_not_run_as_a_whole() {
        let whole = targets();
        for target in TARGETS {
            let is_whole = whole.iter().any(|word| word == target.name);
            assert_eq!(is_whole, target.needs == Needs::Nothing, "{}", target.name);
        }
        assert!(parts().all(|(_, modules)| !modules.is_empty()));
    }
}
