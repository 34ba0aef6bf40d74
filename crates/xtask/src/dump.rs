//! `cargo xtask dump`: rewrites what is generated in `schemas/`.
//!
//! Each generated file is compared with the code by a test that lives with the code; the same
//! tests write it when `UPDATE_SCHEMAS` is set, so there is one place that knows how.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{repository, test};

/// Makes the tests that compare write instead.
const UPDATE: (&str, &str) = ("UPDATE_SCHEMAS", "1");

/// Runs the tests as writers, then prints what changed.
///
/// # Errors
/// When the servers cannot be had, or cargo or git cannot be run.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let code = test::run(arguments, &[UPDATE])?;
    for change in changes()? {
        eprintln!("changed: {change}");
    }
    Ok(code)
}

/// What in `schemas/` differs from what is committed; nothing where there is no git repository.
///
/// # Errors
/// When git cannot be run.
pub fn changes() -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["status", "--porcelain", "schemas/"])
        .current_dir(repository::root())
        .output()
        .context("running git status")?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}
