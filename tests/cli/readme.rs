//! Runs the commands of the README in their order. Each command must succeed.
//!
//! `cargo xtask test` is left out, because it runs this test. `cargo xtask ci` checks that line of
//! the README.
//!
//! Another test checks that the programs in docs/HANDLERS.md are the same as in files that other
//! tests build and run.

use std::process::Stdio;
use std::time::Duration;

use hookbox_testkit::binary::Process;

use crate::binary::command;
use crate::development::Development;

/// The longest wait for a process to do what a test expects. Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

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
            "the README must contain the command {command}"
        );
    }
}

#[test]
fn the_programs_on_the_page_of_handlers_are_those_of_the_examples() {
    let page = include_str!("../../docs/HANDLERS.md");
    let handler = include_str!("../../examples/own-service/src/main.rs");
    let (handler, _) = handler.split_once("\n#[cfg(test)]").unwrap();
    let test = include_str!("../../examples/own-service/src/tests.rs");
    let service = include_str!("../../examples/forward/service.py");
    let sqlite = include_str!("../../crates/hookbox/src/testing/tests/on_sqlite.rs");
    let (_, sqlite) = sqlite.split_once("const RECEIPTS: &str = \"\n").unwrap();
    let (table, sqlite) = sqlite.split_once("\";\n\n").unwrap();
    let (sqlite, _) = sqlite.split_once("\nfn book_receipt").unwrap();
    for (program, first) in [
        (handler, "use hookbox"),
        (test, "use hookbox"),
        (service, "import os"),
        (table, "create table"),
        (sqlite, "impl Handler<Sqlite>"),
    ] {
        // The page leaves out the comment at the beginning of a file.
        let program = &program[program.find(first).unwrap()..];
        assert!(
            page.contains(program),
            "docs/HANDLERS.md must contain this program:\n{program}"
        );
    }
}

/// Checks that a service starts, and drains after SIGTERM.
fn starts(dev: &Development, words: &[&str]) {
    let mut service = command(dev.folder(), words);
    service.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut service = Process::start(&mut service).unwrap();
    let mut log = service.stderr().unwrap();
    let is_up = |line: &str| {
        let is_up = line.contains("ingest listens on") || line.contains("the worker takes events");
        is_up.then_some(())
    };
    let found = log.find(PATIENCE, is_up);
    assert!(
        found.is_some(),
        "the command {words:?} did not start: {}",
        log.text()
    );
    service.signal("TERM").unwrap();
    let ended = service
        .wait(PATIENCE)
        .expect("the service must drain and end in time after SIGTERM");
    assert!(ended.success(), "the command {words:?} must drain");
}
