//! `cargo xtask chaos`: builds what the fault suite runs, and runs it.

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::install::Server;
use crate::{repository, test};

/// What is built: the binary under test, with its crash points, and the layers.
const PACKAGES: [&str; 3] = ["hookbox", "hookbox-chaos", "hookbox-simulation"];

/// Runs the fault suite; its own `--help` lists the arguments.
///
/// # Errors
/// When something does not build, or the servers cannot be had.
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
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
