//! `cargo xtask ci`: everything that must hold before a change lands, in the order of how soon
//! each part can say no.

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{chaos, dump, fuzz, readme, repository, tidy};

/// Runs every step, and stops at the first that fails.
///
/// # Errors
/// When a step fails or cannot be run.
pub fn run() -> Result<ExitCode> {
    let start = Instant::now();
    step("cargo fmt --all -- --check", |words| cargo(words, &[]))?;
    step("cargo xtask tidy", |_| tidy::check())?;
    step(
        "cargo clippy --workspace --all-targets --features hookbox-tests/skew -- -D warnings",
        |words| cargo(words, &[]),
    )?;
    step("cargo doc --workspace --no-deps", |words| {
        cargo(words, &[("RUSTDOCFLAGS", "-D warnings")])
    })?;
    step(&readme::test_command()?, |command| {
        let mut shell = Command::new("sh");
        succeeds(shell.arg("-c").arg(command).current_dir(repository::root()))
    })?;
    step("cargo xtask fuzz --ci", |_| fuzzing_holds())?;
    // Other seeds each time; what fails is printed with the command that repeats it.
    step("cargo xtask chaos --ci", |_| chaos_holds())?;
    step("git status --porcelain schemas/", |_| dumps_are_clean())?;
    eprintln!("== all steps passed, {} s", start.elapsed().as_secs());
    Ok(ExitCode::SUCCESS)
}

fn step(command: &str, run: impl FnOnce(&str) -> Result<()>) -> Result<()> {
    eprintln!("== {command}");
    let start = Instant::now();
    let result = run(command);
    let word = if result.is_ok() { "passed" } else { "failed" };
    eprintln!(
        "== {word} after {:.1} s: {command}",
        start.elapsed().as_secs_f32()
    );
    result.with_context(|| command.to_owned())
}

fn cargo(words: &str, environment: &[(&str, &str)]) -> Result<()> {
    let arguments = words.split_whitespace().skip(1);
    succeeds(
        repository::cargo()
            .args(arguments)
            .envs(environment.iter().copied()),
    )
}

fn succeeds(command: &mut Command) -> Result<()> {
    let status = command.status().context("starting it")?;
    if status.success() {
        Ok(())
    } else {
        bail!("{status}")
    }
}

fn chaos_holds() -> Result<()> {
    let code = chaos::run(&["--ci".to_owned()])?;
    anyhow::ensure!(code == ExitCode::SUCCESS, "a case does not hold: see above");
    Ok(())
}

fn fuzzing_holds() -> Result<()> {
    let code = fuzz::run(&["--ci".to_owned()])?;
    anyhow::ensure!(
        code == ExitCode::SUCCESS,
        "a target does not hold: see above"
    );
    Ok(())
}

fn dumps_are_clean() -> Result<()> {
    let changes = dump::changes()?;
    if changes.is_empty() {
        return Ok(());
    }
    for change in &changes {
        eprintln!("{change}");
    }
    bail!("schemas/ differs from what is committed: look at the difference, and commit it")
}
