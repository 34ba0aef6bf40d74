//! Runs failed tests once more, alone, to distinguish flaky tests from broken ones.
//!
//! The suite has more than a thousand tests, and many of them wait for real servers on a busy
//! machine. A test that fails in the suite and passes alone is flaky: the run passes, and names the
//! test, because it shows a fault of the test or of hookbox that has to be found. `cargo xtask ci
//! --full` accepts no flaky test.

use std::env;

use crate::tally::Tally;

/// The environment variable that, if it is set, keeps failed tests from being run again.
pub const ONCE: &str = "HOOKBOX_TEST_ONCE";

/// The most failed tests that are run again. If more tests fail, they are not flaky but probably
/// have one common cause, so none of them is run again.
const FAILED_MAX: usize = 3;

/// The names of the tests that failed, as the test programs print them.
#[derive(Debug, Default)]
pub struct Failures {
    names: Vec<String>,
}

/// Returns whether no failed test may be run again.
pub fn is_once() -> bool {
    env::var_os(ONCE).is_some_and(|value| !value.is_empty())
}

impl Failures {
    /// Adds the name in a line, if the line reports a failed test.
    pub fn add(&mut self, line: &str) {
        let failed = line.trim_end().strip_suffix(" ... FAILED");
        if let Some(name) = failed.and_then(|line| line.strip_prefix("test ")) {
            let name = name.trim_end_matches(" - should panic");
            self.names.push(name.to_owned());
        }
    }

    /// Returns the names of the tests to run again. There are none if too many tests failed, or if
    /// one of the failures has no name that selects it, such as a killed test program or an example
    /// in the documentation.
    pub fn to_run_again(&self, tally: Tally) -> &[String] {
        let all_named = tally.failed == self.names.len() as u64;
        let selects = |name: &String| !name.contains(' ');
        if !all_named || self.names.len() > FAILED_MAX || !self.names.iter().all(selects) {
            return &[];
        }
        &self.names
    }
}

/// Returns the arguments of cargo, changed so that only the tests in `names` run.
pub fn arguments(cargo: &[String], names: &[String]) -> Vec<String> {
    let ours = cargo.iter().take_while(|word| *word != "--").cloned();
    let filter = ["--", "--exact"].map(str::to_owned);
    ours.chain(filter).chain(names.iter().cloned()).collect()
}

/// Returns the result of both runs together. `first` is the result of the first run; in the second
/// run, every failed test has passed.
pub fn together(first: Tally) -> Tally {
    Tally {
        passed: first.passed + first.failed,
        failed: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(lines: &[&str]) -> Failures {
        let mut failures = Failures::default();
        for line in lines {
            failures.add(line);
        }
        failures
    }

    fn failed(failed: u64) -> Tally {
        Tally { passed: 9, failed }
    }

    #[test]
    fn only_failures_that_are_all_named_are_run_again() {
        let lines = [
            "test a::b ... ok\n",
            "test a::c ... FAILED\n",
            "test a::d - should panic ... FAILED\r\n",
            "it printed: test a::e ... FAILED",
        ];
        let two = failures(&lines);
        assert_eq!(two.to_run_again(failed(2)), ["a::c", "a::d"]);
        assert!(
            two.to_run_again(failed(3)).is_empty(),
            "no test may be run again if the name of one failed test is unknown"
        );
        let many = failures(&["test a ... FAILED"; FAILED_MAX + 1]);
        assert!(
            many.to_run_again(failed(4)).is_empty(),
            "no test may be run again if too many have failed"
        );
        let documentation = failures(&["test src/a.rs - a (line 3) ... FAILED"]);
        assert!(documentation.to_run_again(failed(1)).is_empty());
        assert!(failures(&[]).to_run_again(failed(0)).is_empty());
    }

    #[test]
    fn the_second_run_selects_the_same_packages_and_only_the_failed_tests() {
        let words =
            |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        assert_eq!(
            arguments(
                &words("test --workspace -- wire --skip x"),
                &words("a::c a::d")
            ),
            words("test --workspace -- --exact a::c a::d")
        );
        assert_eq!(
            together(failed(2)),
            Tally {
                passed: 11,
                failed: 0
            }
        );
    }
}
