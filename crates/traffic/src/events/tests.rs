//! Checks that generated bodies conform to Begini's own JSON Schemas, and that bodies with a flaw
//! do not.

use std::collections::HashSet;
use std::path::Path;

use super::*;

fn validator(kind: Kind) -> jsonschema::Validator {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/begini");
    let file = folder.join(format!("{}.json", kind.as_str()));
    let text = std::fs::read(file).expect("the file of the JSON Schema must exist");
    let schema = serde_json::from_slice(&text).expect("the file must contain JSON");
    jsonschema::draft202012::new(&schema).expect("the schema must compile")
}

#[test]
fn every_kind_keeps_to_its_schema() {
    for kind in Kind::ALL {
        let validator = validator(kind);
        for number in 0..200 {
            let event = Event::new(7, number, Some(kind));
            for version in [Version::First, Version::Conflicting] {
                let body = event.body(version);
                let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                let mistakes: Vec<String> = validator
                    .iter_errors(&value)
                    .map(|e| e.to_string())
                    .collect();
                assert!(mistakes.is_empty(), "{kind:?} {number}: {mistakes:?}");
            }
        }
    }
}

#[test]
fn every_flaw_breaks_the_schema() {
    let kind = Kind::PsychometricScore;
    let validator = validator(kind);
    for number in 0..50 {
        let event = Event::new(7, number, Some(kind));
        let cut = event.flawed(Flaw::CutShort);
        assert!(serde_json::from_slice::<serde_json::Value>(&cut).is_err());
        for flaw in [
            Flaw::WithoutUid,
            Flaw::NumericUid,
            Flaw::TextScore,
            Flaw::WithoutTime,
        ] {
            let body = event.flawed(flaw);
            let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            assert!(!validator.is_valid(&value), "{flaw:?}");
        }
    }
}

#[test]
fn bodies_of_events_are_distinct_and_reproducible() {
    let mut bodies = HashSet::new();
    for number in 0..500 {
        let event = Event::new(7, number, None);
        assert!(bodies.insert(event.body(Version::First)));
        assert!(bodies.insert(event.body(Version::Conflicting)));
        assert_eq!(
            event.body(Version::First),
            Event::new(7, number, None).body(Version::First)
        );
        let event = Event::new(7, number, Some(Kind::AndroidScore));
        for flaw in [
            Flaw::CutShort,
            Flaw::WithoutUid,
            Flaw::NumericUid,
            Flaw::TextScore,
            Flaw::WithoutTime,
        ] {
            assert!(bodies.insert(event.flawed(flaw)), "{flaw:?} {number}");
        }
    }
}

#[test]
fn a_conflict_has_the_same_identity() {
    let fields = |body: &[u8]| {
        let value: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        ["/integration_id", "/uid", "/event/type"].map(|pointer| value.pointer(pointer).cloned())
    };
    for kind in Kind::ALL {
        let event = Event::new(7, 3, Some(kind));
        let (first, other) = (event.body(Version::First), event.body(Version::Conflicting));
        assert_eq!(fields(&first), fields(&other));
        assert!(fields(&first).iter().all(Option::is_some));
        assert_ne!(first, other, "{kind:?}");
    }
}

#[test]
fn all_kinds_turn_up() {
    let kinds: std::collections::BTreeSet<Kind> = (0..500)
        .map(|number| Event::new(1, number, None).kind)
        .collect();
    assert_eq!(kinds.len(), Kind::ALL.len());
}
