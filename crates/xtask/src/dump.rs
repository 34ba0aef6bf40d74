//! `cargo xtask dump`: rewrites the generated files in `schemas/`, and the tables of keys in
//! `docs/CONFIG.md`.
//!
//! A test beside the code compares each generated file with the code. With `UPDATE_SCHEMAS` set,
//! the same test writes the file instead, so that no other code has to know how it is generated.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::{repository, test};

/// The environment variable that makes the tests of generated files write the files instead of
/// comparing them.
const UPDATE: (&str, &str) = ("UPDATE_SCHEMAS", "1");

/// What the tests generate: the files of this folder, and parts of this document.
const GENERATED: [&str; 2] = ["schemas/", "docs/CONFIG.md"];

/// Runs the tests of the generated files so that they write these files, and prints which files
/// changed.
///
/// # Errors
/// When a server cannot be found or installed, or cargo or git cannot be run.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let code = test::run(arguments, &[UPDATE])?;
    for change in changes()? {
        eprintln!("changed: {change}");
    }
    Ok(code)
}

/// Returns the generated files that differ from the last commit; none if there is no git
/// repository.
///
/// # Errors
/// When git cannot be run.
pub fn changes() -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["status", "--porcelain"])
        .args(GENERATED)
        .current_dir(repository::root())
        .output()
        .context("running git status")?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}
