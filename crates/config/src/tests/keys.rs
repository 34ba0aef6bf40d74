//! Checks that the schema, the structs and the documentation contain the same config keys.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::{SCHEMA, file};

/// Returns each table of the config: the pointer to its description in the schema, and the keys
/// that its struct accepts.
fn tables() -> Vec<(&'static str, BTreeSet<String>)> {
    vec![
        ("", taken::<file::File>()),
        ("/$defs/reference", taken::<file::Reference>()),
        ("/properties/store", taken::<file::Store>()),
        ("/properties/broker", taken::<file::Broker>()),
        ("/properties/ingest", taken::<file::Ingest>()),
        ("/properties/ingest/properties/tls", taken::<file::Tls>()),
        ("/properties/worker", taken::<file::Worker>()),
        ("/properties/metrics", taken::<file::Metrics>()),
        ("/properties/log", taken::<file::Log>()),
        ("/properties/source/items", taken::<file::Source>()),
        (
            "/properties/source/items/properties/timestamp",
            taken::<file::Timestamp>(),
        ),
        (
            "/properties/source/items/properties/secrets/items",
            taken::<file::Secret>(),
        ),
        (
            "/properties/source/items/properties/topic/oneOf/1",
            taken::<file::TopicHeader>(),
        ),
        (
            "/properties/source/items/properties/identity/oneOf/2",
            taken::<file::IdentityHeader>(),
        ),
        (
            "/properties/source/items/properties/answer",
            taken::<file::Answer>(),
        ),
        (
            "/properties/source/items/properties/on_conflict/oneOf/1/items",
            taken::<file::ConflictRule>(),
        ),
        ("/properties/route/items", taken::<file::Route>()),
        (
            "/properties/route/items/properties/handler",
            taken::<file::Handler>(),
        ),
        (
            "/properties/route/items/properties/retry",
            taken::<file::Retry>(),
        ),
    ]
}

/// Returns the keys that a struct accepts, taken from serde's error about an unknown key.
fn taken<T: DeserializeOwned>() -> BTreeSet<String> {
    let refused = serde_json::from_str::<T>(r#"{"no such key": 1}"#).err();
    let refused = refused.expect("unknown keys are refused").to_string();
    let (_, expected) = refused.split_once(", expected").expect("a list");
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("JSON")
}

/// Finds the pointers to all objects of the schema that define keys.
fn objects(at: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if members.get("type") == Some(&Value::from("object")) {
                found.insert(at.to_owned());
            }
            for (key, member) in members {
                objects(&format!("{at}/{key}"), member, found);
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                objects(&format!("{at}/{index}"), value, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_schema_and_the_structs_know_the_same_keys() {
    let schema = schema();
    jsonschema::meta::validate(&schema).expect("a JSON Schema");
    let mut all = BTreeSet::new();
    objects("", &schema, &mut all);
    let compared: BTreeSet<String> = tables().iter().map(|(at, _)| (*at).to_owned()).collect();
    assert_eq!(
        all, compared,
        "every table of the schema is compared with a struct"
    );
    for (at, taken) in tables() {
        let table = schema.pointer(at).expect("there");
        assert_eq!(table["additionalProperties"], false, "{at}");
        let known = table["properties"].as_object().expect("keys");
        let known: BTreeSet<String> = known.keys().cloned().collect();
        assert_eq!(known, taken, "{at}");
    }
}

#[test]
fn every_key_is_described_in_the_schema_and_in_the_docs() {
    let docs = include_str!("../../../../docs/CONFIG.md");
    let schema = schema();
    for (at, keys) in tables() {
        for key in keys {
            let described = &schema.pointer(at).expect("there")["properties"][&key];
            let elsewhere = described["$ref"].as_str().and_then(|to| {
                let described = schema.pointer(to.strip_prefix('#')?)?;
                described.get("description")
            });
            assert!(
                described.get("description").or(elsewhere).is_some(),
                "{at}/{key} has no description"
            );
            assert!(
                docs.contains(&format!("`{key}`")) || docs.contains(&format!("`[[{key}]]`")),
                "docs/CONFIG.md does not describe {key:?} ({at})"
            );
        }
    }
}
