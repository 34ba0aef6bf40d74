//! The layers that are programs of their own: the simulation, the cluster, and the tests.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::checker::Figures;
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

/// Runs a case on three nodes.
pub fn cluster(number: u8, seed: u64) -> (Figures, Verdict) {
    match cluster_said(number, seed) {
        Ok(said) => {
            let count = |name: &str| said[name].as_u64().unwrap_or_default();
            let figures = Figures {
                accepted: count("accepted"),
                unanswered: count("refused"),
                lost: count("lost"),
                doubled: count("doubled"),
                ..Figures::default()
            };
            let why = said["why"].as_str().unwrap_or_default().to_owned();
            let verdict = match said["result"].as_str().unwrap_or_default() {
                "PASS" => Verdict::Held,
                "did not run" => Verdict::DidNotRun(why),
                _ => Verdict::Broken(why),
            };
            (figures, verdict)
        }
        Err(error) => (Figures::default(), Verdict::Broken(format!("{error:#}"))),
    }
}

fn cluster_said(number: u8, seed: u64) -> Result<Value> {
    let program = program("hookbox-cluster");
    if !program.is_file() {
        let why = "no program hookbox-cluster is there to start three nodes";
        return Ok(serde_json::json!({ "result": "did not run", "why": why }));
    }
    let output = Command::new(program)
        .args([
            "--case",
            &number.to_string(),
            "--seed",
            &seed.to_string(),
            "--json",
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("running hookbox-cluster")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("what hookbox-cluster said: {text}"))
}

/// Runs tests of a package by filters, each of which must match one at least.
///
/// # Errors
/// When one fails, or none is there.
pub fn tests(servers: &Servers, package: &str, filters: &[&str]) -> Result<()> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
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
