//! `cargo xtask fuzz`: fuzzes every parser that reads untrusted input.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::repository;

/// Builds the fuzzer and runs it; its own `--help` lists the arguments. A short run uses the debug
/// build that the tests have made. A long run uses an optimised build with all checks of a debug
/// build.
///
/// # Errors
/// When the fuzzer does not build.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let quick = ["--ci", "--list", "--help", "--input"];
    let is_quick = arguments.iter().any(|word| quick.contains(&word.as_str()));
    let profile = if is_quick { "dev" } else { "fuzz" };
    let status = repository::cargo()
        .args(["run", "--quiet", "--profile", profile])
        .args(["--package", "hookbox-fuzz", "--"])
        .args(arguments)
        .status()
        .context("running cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
