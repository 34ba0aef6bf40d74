//! Support for the integration tests: private databases, queues and files, and disks that can be
//! filled.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "in test support a panic is a failed test"
)]

pub mod postgres;
pub mod rabbitmq;
pub mod small_disk;
pub mod sqlite;

use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;

use hookbox_event::EnvironmentName;

/// Returns a random name that begins with `prefix`, so that tests which run at the same time do not
/// share a database, a queue or a file.
pub fn random_name(prefix: &str) -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{prefix}-{random:016x}")
}

pub fn random_environment() -> EnvironmentName {
    random_name("test").parse().unwrap()
}

/// Returns the value of an environment variable that `cargo xtask test` sets. Panics when it is not
/// set, so that no test is skipped by mistake.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run the tests with `cargo xtask test`, or set the variable")
    })
}

/// Prints `DID NOT RUN`, and why a test cannot run on this machine. The test harness hides what a
/// passing test prints with `eprintln!`. So the line is written to standard error directly, and the
/// skipped test is noticed.
pub fn did_not_run(why: &str) {
    let line = format!("DID NOT RUN: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
