//! Tests that the table of invariants is complete, and that the files and tests in it exist.

use super::*;
use crate::catalog::sources;
use crate::repository::path;

#[test]
fn every_invariant_is_there_and_something_checks_it() {
    let numbers: Vec<u8> = INVARIANTS.iter().map(|it| it.number).collect();
    assert_eq!(numbers, (1..=22).collect::<Vec<_>>());
    for it in INVARIANTS {
        assert!(it.files.len() + it.tests.len() > 0, "I{}", it.number);
    }
}

#[test]
fn every_file_reports_the_invariant_by_its_number() {
    for it in INVARIANTS {
        for file in it.files {
            let text = std::fs::read_to_string(path(file)).unwrap();
            let number = it.number;
            let marks = [format!("\"I{number}:"), format!("\"I{number}\"")];
            let is_reported = marks.iter().any(|mark| text.contains(mark.as_str()));
            assert!(
                is_reported,
                "{file} must report violations of invariant I{number}, but does not name it"
            );
        }
    }
}

#[test]
fn every_test_is_there() {
    let sources = sources();
    for it in INVARIANTS {
        for test in it.tests {
            let there = sources.contains(&format!("fn {test}("))
                || sources.contains(&format!("fn {test}<"));
            assert!(
                there,
                "the table names the test {test} for invariant I{}, but there is no such test",
                it.number
            );
        }
    }
}
