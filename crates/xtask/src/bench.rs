//! `cargo xtask bench`: provides the servers, builds the benchmark, and runs it.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::install::Server;
use crate::repository;
use crate::test::provide_private;

/// Runs the benchmark; its own `--help` lists the arguments. It builds the release binary itself.
///
/// # Errors
/// When a server cannot be found or installed, or the benchmark does not build.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    // Missing servers are found and installed before the build, because the build takes minutes.
    let servers = [Server::Postgres, Server::Rabbitmq];
    provide_private(&servers).context("the bench needs private servers on this machine")?;
    let status = repository::cargo()
        .args(["run", "--quiet", "--release"])
        .args(["--package", "hookbox-bench", "--"])
        .args(arguments)
        .status()
        .context("running cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
