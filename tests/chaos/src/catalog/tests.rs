//! Tests that the catalogue is complete, and that every test that it names exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{all, canaries, faults};
use crate::repository::path;

#[test]
fn every_number_is_there_once_and_every_case_has_a_proof() {
    let numbers: Vec<u8> = faults().map(|case| case.number).collect();
    assert_eq!(numbers, (1..=87).collect::<Vec<_>>());
    let hazards = canaries().map(|case| format!("canary-h{}", case.number - 100));
    let named: Vec<&str> = canaries().map(|case| case.name).collect();
    assert_eq!(hazards.collect::<Vec<_>>(), named);
    let names: BTreeSet<&str> = all().map(|case| case.name).collect();
    assert_eq!(
        names.len(),
        numbers.len() + named.len(),
        "no two cases of the catalogue may have the same name"
    );
    for case in all() {
        assert!(
            !case.proofs.is_empty(),
            "{}: no proof shows that the promise of this case holds",
            case.name
        );
    }
}

#[test]
fn every_test_that_is_named_is_there() {
    let mut missing = Vec::new();
    for case in all() {
        for proof in case.proofs {
            let Some((package, filters)) = proof.tests() else {
                continue;
            };
            let folder = match package {
                "hookbox-tests" => path("tests"),
                other => folder_of(other.trim_start_matches("hookbox-")),
            };
            let text = read(&folder) + &read(&path("tests/conformance/src"));
            for filter in filters {
                if !text.contains(&format!("fn {filter}")) {
                    missing.push(format!(
                        "case {} names the test {filter} of {package}, which does not exist",
                        case.name
                    ));
                }
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// Returns the folder of a package, which is in the folder `crates` if the package ships, and in
/// the folder `tests` if it contains only tests.
fn folder_of(package: &str) -> PathBuf {
    let ships = path("crates").join(package);
    if ships.exists() {
        ships
    } else {
        path("tests").join(package)
    }
}

/// Returns the text of all Rust sources of the repository.
pub(crate) fn sources() -> String {
    read(&path("crates")) + &read(&path("tests"))
}

fn read(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            text.push_str(&read(&path));
        } else if path.extension().is_some_and(|it| it == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    text
}
