//! The layers that are programs of their own: the simulation and the tests.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::outcome::Verdict;
use crate::report::path;
use crate::servers::Servers;

fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name(name)
}

/// Runs so many seeds, from one on.
pub fn simulation(seeds: u64, seed: u64) -> Verdict {
    let program = program("hookbox-simulation");
    if !program.is_file() {
        return Verdict::DidNotRun("hookbox-simulation is not built".to_owned());
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

/// Builds an older hookbox, and runs it beside this one.
///
/// # Errors
/// When anything is lost or doubled between them.
pub fn versions() -> Result<()> {
    let output = Command::new(cargo())
        .args(["xtask", "skew"])
        .current_dir(path("."))
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

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs tests of a package by filters, each of which must match one at least.
///
/// # Errors
/// When one fails, or none is there.
pub fn tests(servers: &Servers, package: &str, filters: &[&str]) -> Result<()> {
    let output = Command::new(cargo())
        .args(["test", "--quiet", "--package", package, "--"])
        .args(filters)
        .current_dir(path("."))
        .env("HOOKBOX_TEST_POSTGRES_URL", servers.postgres_url())
        .env("HOOKBOX_TEST_AMQP_URL", servers.broker_url())
        .stdin(Stdio::null())
        .output()
        .context("running cargo test")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "tests of {package} failed:\n{text}"
    );
    let passed = text.split(" passed;").filter_map(|part| {
        let word = part.rsplit(' ').next()?;
        word.parse::<usize>().ok()
    });
    let passed: usize = passed.sum();
    ensure!(
        passed >= filters.len(),
        "{passed} tests of {package} ran, for {} filters",
        filters.len()
    );
    Ok(())
}
