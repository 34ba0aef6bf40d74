//! Support for the integration tests: private databases, queues and files, a proxy that breaks
//! connections, and disks that can be filled.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "in test support a panic is a failed test"
)]

pub mod postgres;
pub mod proxy;
pub mod rabbitmq;
pub mod small_disk;
pub mod sqlite;

use std::hash::{BuildHasher, RandomState};
use std::io::Write as _;

use hookbox_event::EnvironmentName;

/// Returns a name that no other test has.
pub fn random_name(prefix: &str) -> String {
    let random = RandomState::new().hash_one(std::process::id());
    format!("{prefix}-{random:016x}")
}

pub fn random_environment() -> EnvironmentName {
    random_name("test").parse().unwrap()
}

/// Returns a variable that `cargo xtask test` sets. Fails without it, so that no test is skipped.
pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run the tests with `cargo xtask test`, or name a server in it")
    })
}

/// Prints that a test cannot run here, in words that can be searched for. The line goes past the
/// output capture of the test harness, which hides the output of a test that passes: the skip would
/// not be seen.
pub fn did_not_run(why: &str) {
    let line = format!("DID NOT RUN: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
}
