//! `cargo xtask ci`: runs everything that must pass before a change lands. The steps that can fail
//! soonest run first. `--full FOLDER` then repeats the steps that need servers, with a newer
//! generation of servers.

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::test::again::ONCE;
use crate::{chaos, dump, fuzz, readme, repository, tidy};

/// The steps that need servers, as arguments of `cargo`.
const MEETS_SERVERS: [&str; 2] = [
    "xtask test -p hookbox-driver-postgres -p hookbox-driver-rabbitmq -p hookbox-tests",
    "xtask chaos --ci --layer faults",
];

/// The command that creates the root file system for `--full`, in which newer servers are
/// installed.
const MAKE_ROOT: &str = "debootstrap --variant=minbase \
     --include=rabbitmq-server,postgresql-17,libfaketime trixie";

/// Runs every step, and stops at the first that fails. If `other` is the path of a root file system
/// with other servers, the steps that need servers run again with these servers, once with
/// RabbitMQ's metadata in Mnesia and once in Khepri.
///
/// # Errors
/// When a step fails or cannot be run.
pub fn run(other: Option<&str>) -> Result<ExitCode> {
    let start = Instant::now();
    if let Some(root) = other {
        // A missing root file system is reported now, and not after the half hour of the other
        // steps.
        ensure!(
            Path::new(root).join("etc/passwd").exists(),
            "{root} has no root file system; to create it: {MAKE_ROOT} {root}"
        );
    }
    this_machine(other.is_some())?;
    if let Some(root) = other {
        for khepri in ["", "1"] {
            for words in MEETS_SERVERS {
                let named = format!("HOOKBOX_TEST_ROOT={root} HOOKBOX_TEST_KHEPRI={khepri}");
                let others = [
                    ("HOOKBOX_TEST_ROOT", root),
                    ("HOOKBOX_TEST_KHEPRI", khepri),
                    (ONCE, "1"),
                ];
                step(&format!("{named} cargo {words}"), |_| {
                    cargo(&format!("cargo {words}"), &others)
                })?;
            }
        }
    }
    eprintln!("== all steps passed, {} s", start.elapsed().as_secs());
    Ok(ExitCode::SUCCESS)
}

/// Runs the steps with this machine's servers. In a full run, no test may be flaky.
fn this_machine(full: bool) -> Result<()> {
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
        if full {
            shell.env(ONCE, "1");
        }
        succeeds(shell.arg("-c").arg(command).current_dir(repository::root()))
    })?;
    step("cargo xtask fuzz --ci", |_| fuzzing_holds())?;
    // The fault suite gets a seed that is made of the commit, so each commit is tested with other
    // faults. A failure is printed with the command that repeats it.
    step("cargo xtask chaos --ci", |_| chaos_holds())?;
    step("git status --porcelain, for generated files", |_| {
        dumps_are_clean()
    })
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
    let mut arguments = vec!["--ci".to_owned()];
    if let Some(seed) = seed_of_commit() {
        arguments.extend(["--seed".to_owned(), seed.to_string()]);
    }
    let code = chaos::run(&arguments)?;
    ensure!(
        code == ExitCode::SUCCESS,
        "a case of the fault suite failed: see above"
    );
    Ok(())
}

/// Returns a seed made of the id of the commit that is checked out; `None` outside a repository. By
/// this seed, each commit is tested with other faults, and a second run of the same commit repeats
/// those of the first.
fn seed_of_commit() -> Option<u64> {
    let output = Command::new("git")
        .args(["rev-parse", "HEAD"])
        .current_dir(repository::root())
        .output()
        .ok()?;
    let id = String::from_utf8(output.stdout).ok()?;
    u64::from_str_radix(id.get(..8)?, 16).ok()
}

fn fuzzing_holds() -> Result<()> {
    let code = fuzz::run(&["--ci".to_owned()])?;
    ensure!(
        code == ExitCode::SUCCESS,
        "a target of the fuzzer failed: see above"
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
    bail!("these generated files differ from the last commit: review the difference, and commit it")
}
