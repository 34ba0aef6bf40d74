//! Checks that the schema and the structs contain the same config keys, and that each is described.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::super::file;
use super::super::pattern::wording;
use super::schema::generated;

/// Returns each table of the config: the pointer to its description in the schema, and the keys
/// that its struct accepts, in the order of its fields.
pub fn tables() -> Vec<(&'static str, Vec<String>)> {
    vec![
        ("", taken::<file::File>()),
        ("/$defs/reference", taken::<file::Reference>()),
        ("/properties/store", taken::<file::Store>()),
        ("/properties/broker", taken::<file::Broker>()),
        ("/properties/identity", taken::<file::Identities>()),
        ("/properties/ingest", taken::<file::Ingest>()),
        (
            "/properties/ingest/properties/tls",
            taken::<file::ingest::Tls>(),
        ),
        ("/properties/worker", taken::<file::Worker>()),
        ("/properties/metrics", taken::<file::Metrics>()),
        ("/properties/log", taken::<file::Log>()),
        ("/properties/source/items", taken::<file::Source>()),
        (
            "/properties/source/items/properties/timestamp",
            taken::<file::source::Timestamp>(),
        ),
        (
            "/properties/source/items/properties/secrets/items",
            taken::<file::Secret>(),
        ),
        (
            "/properties/source/items/properties/topic/oneOf/1",
            taken::<file::source::TopicHeader>(),
        ),
        (
            "/properties/source/items/properties/identity/oneOf/2",
            taken::<file::source::IdentityHeader>(),
        ),
        (
            "/properties/source/items/properties/answer",
            taken::<file::source::Answer>(),
        ),
        (
            "/properties/source/items/properties/on_conflict/oneOf/1/items",
            taken::<file::source::ConflictRule>(),
        ),
        ("/properties/route/items", taken::<file::Route>()),
        (
            "/properties/route/items/properties/where/items",
            taken::<file::condition::Condition>(),
        ),
        (
            "/properties/route/items/properties/handler",
            taken::<file::route::Handler>(),
        ),
        (
            "/properties/route/items/properties/newest",
            taken::<file::newest::Newest>(),
        ),
        (
            "/properties/route/items/properties/retry",
            taken::<file::route::Retry>(),
        ),
    ]
}

/// Returns the keys that a struct accepts, taken from serde's error about an unknown key.
fn taken<T: DeserializeOwned>() -> Vec<String> {
    let refused = serde_json::from_str::<T>(r#"{"no such key": 1}"#).err();
    let refused = refused
        .expect("the struct must refuse an unknown key")
        .to_string();
    let (_, expected) = refused
        .split_once(", expected")
        .expect("the error must list the keys of the struct");
    expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
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
    let schema = generated();
    jsonschema::meta::validate(&schema).expect("the generated text must be a valid JSON Schema");
    let mut all = BTreeSet::new();
    objects("", &schema, &mut all);
    let compared: BTreeSet<String> = tables().iter().map(|(at, _)| (*at).to_owned()).collect();
    assert_eq!(
        all, compared,
        "each table of the schema must be compared with its struct"
    );
    for (at, taken) in tables() {
        let table = schema
            .pointer(at)
            .expect("the schema must contain the table");
        assert_eq!(table["additionalProperties"], false, "{at}");
        let known = table["properties"].as_object().expect("keys");
        let known: BTreeSet<&String> = known.keys().collect();
        assert_eq!(known, taken.iter().collect(), "{at}");
        for key in taken {
            let value = &table["properties"][&key];
            let is_described = value["description"].is_string();
            assert!(is_described, "{at}/{key} must have a description");
            let pattern = value["pattern"].as_str();
            let has_message = pattern.is_none_or(|pattern| wording(pattern).is_some());
            assert!(has_message, "a message must say what {at}/{key} must be");
        }
    }
}
