//! Tests how the verdict of a test run is derived from the output of the run.

use super::said;
use crate::outcome::Verdict;

#[test]
fn each_filter_must_have_run_by_its_name() {
    let text = "running 2 tests\ntest outages::a_frozen_one ... ok\n\
                test a_killed_one ... it says something\nok\n";
    let filters = ["a_frozen_one", "a_killed_one"];
    assert_eq!(said("x", &filters, text), Verdict::Held);
    let twice = "test a_frozen_one ... ok\ntest a_frozen_one_again ... ok\n";
    let Verdict::Broken(why) = said("x", &filters, twice) else {
        panic!("a filter that matches no test must make the verdict `Broken`");
    };
    assert!(why.contains("a_killed_one"), "{why}");
}

#[test]
fn what_did_not_run_is_not_held() {
    let text = "test a_full_disk ... DID NOT RUN: it needs root\nok\n";
    let why = "it needs root".to_owned();
    assert_eq!(said("x", &["a_full_disk"], text), Verdict::DidNotRun(why));
}
