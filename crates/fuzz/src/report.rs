//! `docs/FUZZING.md`: what was run last, of each target.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::engine::{Engine, RunResult};

const HEAD: &str = "\
# Fuzzing

Written by `cargo xtask fuzz`; do not edit. A run of a target changes its line.

`cargo xtask fuzz --list` names the targets; `--target NAME` runs one, `--runs N` is how many
inputs, `--seed N` repeats a run. The corpus is in `crates/fuzz/corpus/`, and each of its files is
tried by every `cargo xtask test`; `cargo xtask ci` runs all targets for a short while.

| target | what | inputs | classes | inputs a second | seed | date | commit | result |
|---|---|---|---|---|---|---|---|---|
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Writes the line of a target.
///
/// # Errors
/// When the file cannot be written.
pub fn write(engine: &Engine<'_>, ended: &RunResult) -> Result<()> {
    let path = root().join("docs/FUZZING.md");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let name = engine.target.name;
    let own = format!("| {name} |");
    let lines = before.lines().filter(|line| line.starts_with("| "));
    let lines = lines.filter(|line| !line.starts_with(&own) && !line.starts_with("| target |"));
    let result = match &ended.failure {
        None => "held",
        Some(_) => "**failed**",
    };
    let line = format!(
        "| {name} | {} | {} | {} | {:.0} | {} | {} | {} | {result} |",
        engine.target.what,
        ended.runs,
        ended.classes,
        ended.runs as f64 / ended.seconds.max(0.001),
        engine.seed,
        said("date", &["+%F"])?,
        said("git", &["rev-parse", "--short", "HEAD"])?,
    );
    let mut lines: Vec<String> = lines.map(str::to_owned).chain([line]).collect();
    lines.sort();
    let text = format!("{HEAD}{}\n", lines.join("\n"));
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

fn said(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output();
    let output = output.with_context(|| format!("running {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
