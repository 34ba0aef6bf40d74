//! Compares the values that types get from a body that was read already with those that they get
//! from serde_json.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::*;

fn read(body: &str) -> Json {
    Json::read(&Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

/// Reads a body as a `T`, and returns `None` if it does not fit. If it fits, serde_json must be
/// able to read it too, with the same value.
fn agrees<T: DeserializeOwned + Debug>(body: &str) -> Option<T> {
    let own: Option<T> = read(body).to_payload();
    if let Some(own) = &own {
        let expected: T = serde_json::from_str(body).expect(body);
        assert_eq!(format!("{own:?}"), format!("{expected:?}"), "{body}");
    }
    own
}

#[derive(Debug, Deserialize)]
struct Invoice {
    #[allow(dead_code)]
    id: String,
    #[allow(dead_code)]
    cents: i64,
    #[allow(dead_code)]
    paid: Option<bool>,
    #[serde(default)]
    #[allow(dead_code)]
    lines: Vec<(String, f64)>,
    #[allow(dead_code)]
    kind: Kind,
    #[allow(dead_code)]
    wide: Option<Wide>,
}

#[derive(Debug, Deserialize)]
enum Kind {
    Plain,
    #[allow(dead_code)]
    With {
        #[allow(dead_code)]
        note: String,
    },
}

#[derive(Debug, Deserialize)]
struct Wide(#[allow(dead_code)] u128);

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Tagged {
    #[serde(rename = "a")]
    A {
        #[allow(dead_code)]
        n: f64,
    },
    #[serde(other)]
    Other,
}

#[test]
fn a_payload_is_the_one_that_serde_json_gives() {
    for body in [
        r#"{"id":"\u00e9","cents":1,"kind":"Plain"}"#,
        r#"{"cents":-9223372036854775808,"id":"x","paid":null,"kind":{"With":{"note":"n"}},
            "lines":[["a",0.1],["b",1]],"more":{"deep":[1]},"wide":18446744073709551616}"#,
        r#"["x",1,true,[],"Plain",null]"#,
    ] {
        assert!(agrees::<Invoice>(body).is_some(), "{body}");
    }
    for body in [
        r#"{"id":"x","cents":1.0,"kind":"Plain"}"#,
        r#"{"id":"x","cents":1}"#,
        r#"{"id":7,"cents":1,"kind":"Plain"}"#,
        r#"{"id":"x","cents":1,"kind":"Other"}"#,
        r#"{"id":"x","cents":1,"kind":"Plain","lines":[["a",1,2]]}"#,
        r#"{"id":"x","id":"y","cents":1,"kind":"Plain"}"#,
        r#"["x",1,true,[],"Plain",null,7]"#,
        "7",
    ] {
        assert!(agrees::<Invoice>(body).is_none(), "{body}");
        assert!(serde_json::from_str::<Invoice>(body).is_err(), "{body}");
    }
    for body in [
        r#"{"type":"a","n":0.1}"#,
        r#"{"n":1,"type":"a"}"#,
        r#"{"type":"b"}"#,
    ] {
        assert!(agrees::<Tagged>(body).is_some(), "{body}");
    }
    for body in [
        "1",
        "0.1",
        "1e300",
        r#""x""#,
        "null",
        "[true,{}]",
        r#"{"b":1,"a":[2.50]}"#,
    ] {
        assert!(agrees::<Value>(body).is_some(), "{body}");
    }
    let raw = r#"{"a": [ 1.50 ], "b": "\\u00e9", "c": {"n" : 1e400}}"#;
    assert!(agrees::<BTreeMap<String, Box<RawValue>>>(raw).is_some());
    assert!(agrees::<()>("null").is_some());
    assert!(agrees::<()>("0").is_none());
    assert!(agrees::<char>(r#""x""#).is_some());
    assert!(agrees::<BTreeMap<String, u8>>(r#"{"b":1,"a":2}"#).is_some());
}

/// serde_json can read these bodies, but hookbox's own deserializer must refuse them: `to_payload`
/// returns `None`, and its caller then uses serde_json.
#[test]
fn what_is_left_to_serde_json_is_refused() {
    for body in [r#"{"1":2}"#, r#"{"1":2,"1":3}"#] {
        assert!(agrees::<HashMap<u8, u8>>(body).is_none());
        assert!(serde_json::from_str::<HashMap<u8, u8>>(body).is_ok());
    }
}

#[test]
fn a_value_keeps_its_text() {
    let body = r#" { "a" : [ 1.50 , "\u00e9" ] , "n":null,"a2":{"z":1e400} } "#;
    let json = read(body);
    let members: Vec<_> = json.root().members().unwrap().collect();
    let names: Vec<_> = members.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["a", "a2", "n"]);
    assert_eq!(members[0].1.raw(), r#"[ 1.50 , "\u00e9" ]"#);
    assert_eq!(members[1].1.raw(), r#"{"z":1e400}"#);
    assert!(members[2].1.is_null());
    let elements: Vec<_> = members[0].1.elements().unwrap().collect();
    assert!(elements[0].is_number() && elements[0].raw() == "1.50");
    assert_eq!(elements[1].as_str(), Some("é"));
    assert!(json.root().repeated_names().is_empty());
    assert_eq!(
        read(r#"{"a":1,"b":2,"a":3}"#).root().repeated_names(),
        ["a"]
    );
    assert!(!format!("{json:?} {:?}", json.root()).contains("1.50"));
}

#[test]
fn a_pointer_leads_to_the_value() {
    let json = read(r#"{"a":[{"b":1.50},null],"":{"~/":"x"},"a":[{"b":2.50},null],"n":0}"#);
    let at = |pointer: &str| {
        let value = json.root().at(&pointer.parse().unwrap());
        value.map(JsonValue::raw)
    };
    assert_eq!(
        at("/a/0/b"),
        Some("2.50"),
        "the last of two members with the same name must count"
    );
    assert_eq!(at("/a/1"), Some("null"));
    assert_eq!(at("//~0~1"), Some(r#""x""#));
    for absent in [
        "/b", "/a/2", "/a/-", "/a/00", "/a/+0", "/a/", "/n/0", "/a/1/b", "//x",
    ] {
        assert_eq!(at(absent), None, "{absent}");
    }
}

#[test]
fn a_pointer_through_a_value_without_parts_is_an_error() {
    let json = read(r#"{"a":{"b":"x","c":null,"d":[1],"e":true,"f":2,"g":"\ud800"}}"#);
    let reach = |pointer: &str| {
        let value = json.root().reach(&pointer.parse().unwrap());
        let value = value.map(|value| value.map(JsonValue::raw));
        value.map_err(|error| error.to_string())
    };
    assert_eq!(reach("/a/d/0"), Ok(Some("1")));
    assert_eq!(reach("/a/c"), Ok(Some("null")));
    for absent in ["/b/c/d", "/a/c/d", "/a/x/y", "/a/d/1/x"] {
        assert_eq!(reach(absent), Ok(None), "{absent}");
    }
    for (pointer, at, what) in [
        ("/a/b/uid", "the value at /a/b", "is not an object"),
        ("/a/e/uid", "the value at /a/e", "is not an object"),
        ("/a/f/0", "the value at /a/f", "is not an object"),
        ("/a/g/x/y", "the value at /a/g", "is not an object"),
        ("/a/d/0/x", "the value at /a/d/0", "is not an object"),
        (
            "/a/d/uid",
            "the value at /a/d",
            "is an array and not an object",
        ),
        (
            "/a/d/-",
            "the value at /a/d",
            "is an array and not an object",
        ),
    ] {
        let expected = format!("{at} {what}, so that nothing can be at {pointer}");
        assert_eq!(reach(pointer), Err(expected));
    }
    let scalar = read("5");
    let error = scalar.root().reach(&"/a".parse().unwrap()).map(drop);
    let expected = "the body is not an object, so that nothing can be at /a";
    assert_eq!(error.unwrap_err().to_string(), expected);
}
