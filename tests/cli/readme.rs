//! Runs every command of the README in its order. Each must work.
//!
//! `cargo xtask test` is left out, because it runs this test. `cargo xtask ci` checks that line of
//! the README.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::binary::command;
use crate::development::Development;

const README: &str = include_str!("../../README.md");

/// The prefix with which the README runs the binary through cargo.
const BY_CARGO: &str = "cargo run --release -- ";

/// Returns the lines of the README in shell fences. Other fences show output.
fn lines() -> Vec<&'static str> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for line in README.lines() {
        if line.starts_with("```") {
            fenced = line == "```sh";
        } else if fenced && !line.trim().is_empty() {
            lines.push(line.trim());
        }
    }
    lines
}

#[test]
fn every_command_of_the_readme_works() {
    let dev = Development::start("every_command_of_the_readme_works");
    let mut tried = Vec::new();
    for line in lines() {
        if line == "cargo xtask test" {
            continue;
        }
        let words = line
            .strip_prefix(BY_CARGO)
            .or_else(|| line.strip_prefix("hookbox "));
        let Some(words) = words else {
            panic!("this test cannot run the README's line {line:?}")
        };
        let words: Vec<&str> = words.split_whitespace().collect();
        tried.push(words[0]);
        match words[0] {
            // The test has already started `hookbox dev`, so this command of the README is left
            // out.
            "dev" => {}
            "generate" => {
                dev.generate(&words[1..]).well();
            }
            "ingest" | "worker" => starts(&dev, &words),
            _ => {
                dev.run(&words).well();
            }
        }
    }
    for command in [
        "dev",
        "generate",
        "reconcile",
        "dead",
        "check-config",
        "migrate",
        "ingest",
    ] {
        assert!(
            tried.contains(&command),
            "the README no longer contains the command {command}"
        );
    }
}

/// Checks that a service starts, and drains after SIGTERM.
fn starts(dev: &Development, words: &[&str]) {
    let mut child = command(dev.folder(), words)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    let began = Instant::now();
    while !(text.contains("ingest listens on") || text.contains("the worker takes events")) {
        let read = std::io::BufRead::read_line(&mut said, &mut text).unwrap();
        let late = began.elapsed() > Duration::from_secs(60);
        assert!(read > 0 && !late, "{words:?} did not start: {text}");
    }
    let id = child.id().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-TERM", &id])
        .status()
        .unwrap();
    assert!(killed.success());
    assert!(child.wait().unwrap().success(), "{words:?} did not drain");
}
