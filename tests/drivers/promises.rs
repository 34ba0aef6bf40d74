//! Checks that each promise in the documentation of the driver traits has a test that runs with
//! every driver, and that each such test belongs to a promise there.

use std::collections::BTreeSet;
use std::process::Command;

/// The file that states the promises.
const STATED: &str = include_str!("../../crates/driver/src/lib.rs");

/// Returns the names in backticks in the part of the documentation between `from` and `to`.
fn stated(from: &str, to: &str) -> BTreeSet<String> {
    let part = STATED.split_once(from).unwrap().1.split_once(to).unwrap().0;
    part.split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.contains('_') && !name.contains(['[', ':']))
        .map(str::to_owned)
        .collect()
}

/// Returns the names of the tests of one conformance suite that this test program runs.
fn tested(suite: &str) -> BTreeSet<String> {
    let program = std::env::current_exe().unwrap();
    let mut list = Command::new(program);
    let listed = list.args(["--list", "--format", "terse"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    listed
        .lines()
        .filter_map(|line| {
            line.strip_suffix(": test")?
                .strip_prefix(suite)?
                .strip_prefix("::")
        })
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_promise_is_a_test_of_every_driver() {
    let broker = stated("**Broker**", "**Store**");
    let store = stated("**Store**", "Architecture invariant");
    assert!(
        broker.len() > 15 && store.len() > 20,
        "{broker:?} {store:?}"
    );
    for suite in ["rabbitmq", "sqlite_broker"] {
        assert_eq!(tested(suite), broker, "{suite}");
    }
    for suite in ["postgres", "sqlite_store"] {
        assert_eq!(tested(suite), store, "{suite}");
    }
}
