//! `cargo xtask chaos`: builds the fault suite and what it tests, and runs the suite.

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::install::Server;
use crate::{repository, test};

/// The packages to build: the binary under test with its crash points, the fault suite, and the
/// simulation.
const PACKAGES: [&str; 3] = ["hookbox", "hookbox-chaos", "hookbox-simulation"];

/// Runs the fault suite. The suite's own `--help` lists the arguments.
///
/// # Errors
/// When a package does not build, or a server cannot be found or installed.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    test::provide(&Server::ALL)?;
    let mut build = repository::cargo();
    build.arg("build");
    for package in PACKAGES {
        build.args(["--package", package]);
    }
    let built = build.status().context("running cargo build")?;
    ensure!(built.success(), "the fault suite does not build: see above");
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let program = repository::root().join(target).join("debug/hookbox-chaos");
    let status = std::process::Command::new(&program)
        .args(arguments)
        .env("CARGO", repository::cargo_program())
        .status()
        .with_context(|| format!("running {}", program.display()))?;
    // The suite reports its findings by itself, but it cannot report a signal that ended it.
    ensure!(
        status.code().is_some(),
        "the fault suite did not end by itself: {status}"
    );
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
