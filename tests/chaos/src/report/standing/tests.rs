//! Tests that a case counts as held only when each of its proofs has run and held.

use super::*;
use crate::catalog;
use crate::checker::Figures;
use crate::outcome::{CaseResult, Verdict};

fn case(name: &str) -> &'static Case {
    catalog::all().find(|case| case.name == name).unwrap()
}

fn ran(results: &mut Results, case: &str, layer: Layer, pair: Option<Pair>, verdict: Verdict) {
    results.note(&CaseResult {
        case: case.to_owned(),
        layer,
        pair,
        seed: 7,
        seconds: 1.0,
        figures: Figures::default(),
        verdict,
    });
}

#[test]
fn what_never_ran_is_said() {
    let standing = of(&Results::default(), case("broker-killed"));
    assert_eq!(standing.result, "never run");
    assert!(standing.missing.contains(&"faults"), "{standing:?}");
}

#[test]
fn each_layer_and_pair_is_wanted() {
    let (mut results, two) = (Results::default(), case("worker-frozen"));
    let [first, second] = Pair::ALL;
    ran(
        &mut results,
        two.name,
        Layer::Faults,
        Some(first),
        Verdict::Held,
    );
    assert_eq!(of(&results, two).result, "held in part");
    assert_eq!(of(&results, two).missing, ["faults", "tests"]);
    ran(
        &mut results,
        two.name,
        Layer::Faults,
        Some(second),
        Verdict::Held,
    );
    assert_eq!(of(&results, two).missing, ["tests"]);
    ran(&mut results, two.name, Layer::Tests, None, Verdict::Held);
    assert_eq!(of(&results, two).result, "held");
    let broken = Verdict::Broken("I3".to_owned());
    ran(&mut results, two.name, Layer::Faults, Some(first), broken);
    assert_eq!(of(&results, two).result, "BROKEN");
}

#[test]
fn what_could_not_run_has_not_held() {
    let (mut results, one) = (Results::default(), case("two-of-three-killed"));
    let why = Verdict::DidNotRun("no namespaces".to_owned());
    ran(&mut results, one.name, Layer::Cluster, None, why);
    assert_eq!(of(&results, one).result, "never run");
}

#[test]
fn a_crash_case_wants_every_cell_of_its_points() {
    let points = case("ingest-killed-before-publish");
    let mut results = Results::default();
    for cell in Cell::all() {
        if cell.point.name == "ingest.after_verify" {
            let pair = Some(cell.pair);
            ran(
                &mut results,
                &cell.name(),
                Layer::Crashes,
                pair,
                Verdict::Held,
            );
        }
    }
    let standing = of(&results, points);
    assert_eq!(standing.result, "held in part");
    assert!(standing.last.starts_with("crashes 4 of 8 "), "{standing:?}");
}

#[test]
fn what_is_added_to_a_case_has_not_held_before() {
    let (mut results, case) = (Results::default(), case("queue-full"));
    ran(&mut results, case.name, Layer::Tests, None, Verdict::Held);
    assert_eq!(of(&results, case).result, "held");
    for row in results.cases.values_mut() {
        row.contents = "another test".to_owned();
    }
    assert_eq!(of(&results, case).missing, ["tests"]);
}
