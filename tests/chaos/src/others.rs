//! Runs those layers of the fault tests that are separate programs: the simulation, `cargo xtask
//! skew`, and tests of other crates.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use hookbox_testkit::repository::cargo;

use crate::outcome::Verdict;
use crate::servers::Servers;

/// The prefix of the line by which a test reports that it could not run on this machine.
const DID_NOT_RUN: &str = "DID NOT RUN:";

fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name(name)
}

/// Runs `seeds` seeds of the simulation, beginning with `seed`.
pub fn simulation(seeds: u64, seed: u64) -> Verdict {
    let program = program("hookbox-simulation");
    if !program.is_file() {
        return Verdict::DidNotRun("the program hookbox-simulation is not built".to_owned());
    }
    let status = Command::new(program)
        .args(["--seeds", &seeds.to_string(), "--seed", &seed.to_string()])
        .stdin(Stdio::null())
        .status();
    Verdict::of(match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(anyhow::anyhow!(
            "the simulation ended with {other:?}: see above"
        )),
    })
}

/// Builds an older hookbox, and runs it beside this one on the same servers.
///
/// # Errors
/// When an event is lost or doubled.
pub fn versions() -> Result<()> {
    let output = cargo()
        .args(["xtask", "skew"])
        .stdin(Stdio::null())
        .output()
        .context("running cargo xtask skew")?;
    ensure!(
        output.status.success(),
        "cargo xtask skew ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Runs the tests of a package that match the filters. Each filter must match at least one test.
pub fn tests(servers: &Servers, package: &str, filters: &[&str]) -> Verdict {
    let output = cargo()
        .args(["test", "--package", package, "--"])
        // A test that could not run on this machine prints the reason and passes. Only with
        // `--no-capture` is the output of a passed test shown.
        .args(["--no-capture", "--test-threads", "1"])
        .args(filters)
        .env("HOOKBOX_TEST_POSTGRES_URL", servers.postgres_url())
        .env("HOOKBOX_TEST_AMQP_URL", servers.broker_url())
        .stdin(Stdio::null())
        .output();
    let output = match output.context("running cargo test") {
        Ok(output) => output,
        Err(error) => return Verdict::Broken(format!("{error:#}")),
    };
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Verdict::Broken(format!("tests of {package} failed:\n{text}"));
    }
    said(package, filters, &text)
}

/// Returns the verdict of a run in which no test failed. It reads from the output whether each
/// filter has matched a test, and whether a test could not run on this machine.
fn said(package: &str, filters: &[&str], text: &str) -> Verdict {
    if let Some((_, why)) = text.lines().find_map(|it| it.split_once(DID_NOT_RUN)) {
        return Verdict::DidNotRun(why.trim().to_owned());
    }
    // The name of a test and its result may be on different lines, because the output of the test
    // is printed between them.
    let ran: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.split_once(" ..."))
        .map(|(name, _)| name)
        .collect();
    let missing: Vec<&str> = filters
        .iter()
        .copied()
        .filter(|filter| !ran.iter().any(|name| name.contains(filter)))
        .collect();
    if missing.is_empty() {
        return Verdict::Held;
    }
    Verdict::Broken(format!(
        "{package} has no test whose name contains {}",
        missing.join(", ")
    ))
}

#[cfg(test)]
mod tests;
