//! Tests the scanner with tables of examples, and compares it with serde_json on random texts.

use super::*;
use crate::{Digester, Pointer};
use proptest::prelude::*;

fn canonical(body: &str) -> String {
    let document = scan(body.as_bytes(), &[]).expect("the body must be JSON");
    String::from_utf8(document.canonical).expect("the canonical form must be UTF-8")
}

fn extract(body: &str, pointer: &str) -> Extract {
    let pointer = pointer.parse().expect("the pointer must be valid");
    scan(body.as_bytes(), &[pointer])
        .expect("the body must be JSON")
        .extracts
        .remove(0)
}

#[test]
fn one_way_to_write_everything() {
    for (body, expect) in [
        (
            r#" { "b" : [ 1 , 2.0 , -0e+1 ] , "a" : null } "#,
            r#"{"a":null,"b":[1,2.0,-0e+1]}"#,
        ),
        (
            r#"{"b":{"d":1,"c":[{"z":1,"y":2}]},"a":0}"#,
            r#"{"a":0,"b":{"c":[{"y":2,"z":1}],"d":1}}"#,
        ),
        (r#"{"a":2,"b":0,"a":1}"#, r#"{"a":2,"a":1,"b":0}"#),
        (
            r#""\u0041\/\u000a\u0001é\ud83d\ude00""#,
            "\"A/\\n\\u0001é😀\"",
        ),
        (r#""\uD800\u0041""#, r#""\ud800A""#),
        (r#""\ud800\ud800\udc00""#, "\"\\ud800\u{10000}\""),
        ("[]", "[]"),
        ("{}", "{}"),
        ("1e400", "1e400"),
    ] {
        assert_eq!(canonical(body), expect);
        assert_eq!(
            canonical(expect),
            expect,
            "the canonical form of canonical JSON must be the same text"
        );
    }
}

#[test]
fn an_error_in_json_has_its_place() {
    for (body, at) in [
        ("", 0),
        (" ", 1),
        ("{", 1),
        ("[1,]", 3),
        ("{\"a\":1,}", 7),
        ("01", 1),
        ("1.", 2),
        ("+1", 0),
        ("nul", 0),
        ("\"\u{1}\"", 1),
        ("\"\\x\"", 2),
        ("\"\\u12\"", 3),
        ("1 2", 2),
        ("{\"a\" 1}", 5),
        ("{1:2}", 1),
        ("\"a", 2),
        ("[1}", 2),
        ("\u{feff}{}", 0),
    ] {
        assert_eq!(
            scan(body.as_bytes(), &[]),
            Err(JsonError::Syntax { at }),
            "{body:?}"
        );
    }
    assert_eq!(scan(b"\"a\xff\"", &[]), Err(JsonError::NotUtf8 { at: 2 }));
}

#[test]
fn depth_is_bounded_without_recursion() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(scan(nested(DEPTH_MAX).as_bytes(), &[]).is_ok());
    let deep = scan("[".repeat(100_000).as_bytes(), &[]);
    assert_eq!(deep, Err(JsonError::TooDeep { at: DEPTH_MAX }));
}

#[test]
fn pointers_lead_to_values() {
    let body = r#"{"uid":"\u0041b","n":12.50,"t":true,"z":null,"o":{"x":[5,{"y":"deep"}]}}"#;
    assert_eq!(
        extract(body, "/uid"),
        Extract::Found(Scalar::String("Ab".into()))
    );
    assert_eq!(
        extract(body, "/n"),
        Extract::Found(Scalar::Number("12.50".into()))
    );
    assert_eq!(extract(body, "/t"), Extract::Found(Scalar::Bool(true)));
    assert_eq!(extract(body, "/z"), Extract::Absent);
    assert_eq!(extract(body, "/o"), Extract::Container);
    assert_eq!(
        extract(body, "/o/x/1/y"),
        Extract::Found(Scalar::String("deep".into()))
    );
    assert_eq!(extract(body, "/o/x/2"), Extract::Absent);
    assert_eq!(
        extract(body, "/o/x/0"),
        Extract::Found(Scalar::Number("5".into()))
    );
    for no_index in ["/o/x/00", "/o/x/01/y", "/o/x/+0", "/o/x/+1/y"] {
        assert_eq!(extract(body, no_index), Extract::Absent, "{no_index}");
    }
    assert_eq!(extract(body, "/x"), Extract::Absent);
}

#[test]
fn a_repeated_key_makes_its_pointers_ambiguous() {
    assert_eq!(
        extract(r#"{"uid":"a","uid":"a"}"#, "/uid"),
        Extract::Ambiguous
    );
    assert_eq!(
        extract(r#"{"uid":"a","\u0075id":"b"}"#, "/uid"),
        Extract::Ambiguous
    );
    assert_eq!(
        extract(r#"{"e":{"t":"a"},"e":{}}"#, "/e/t"),
        Extract::Ambiguous
    );
    assert_eq!(
        extract(r#"{"e":{"t":"a"},"e":1}"#, "/e/t"),
        Extract::Ambiguous
    );
    let in_array = r#"{"e":[0,{"t":1,"t":2}]}"#;
    assert_eq!(extract(in_array, "/e/1/t"), Extract::Ambiguous);
    assert_eq!(extract(in_array, "/e/01/t"), Extract::Absent);
    let elsewhere = r#"{"x":{"uid":1,"uid":2},"uid":"a","y":1,"y":2}"#;
    assert_eq!(
        extract(elsewhere, "/uid"),
        Extract::Found(Scalar::String("a".into()))
    );
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::hash_map(any::<String>(), inner, 0..8)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A JSON value that can be written in many ways, of which one is canonical.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Plain(&'static str),
    String(String),
    Array(Vec<Node>),
    Object(Vec<(String, Node)>),
}

pub(super) fn node() -> impl Strategy<Value = Node> {
    let text = || prop_oneof!["[a-c]{0,2}", "[a-c\"\\\\\n\u{1}/é😀]{0,6}"];
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "true", "-0.50e+1", "0.0", "500e-2", "1e400",])
            .prop_map(Node::Plain),
        text().prop_map(Node::String),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        let member = (text(), inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Node::Array),
            prop::collection::vec(member, 0..6).prop_map(Node::Object),
        ]
    })
}

impl Node {
    /// Returns the canonical form, computed from the value and not from a text.
    fn canonical(&self) -> String {
        let joined = |parts: Vec<String>| parts.join(",");
        match self {
            Node::Plain(text) => (*text).to_owned(),
            Node::String(text) => canonical_string(text),
            Node::Array(values) => {
                format!("[{}]", joined(values.iter().map(Node::canonical).collect()))
            }
            Node::Object(members) => {
                let mut members: Vec<(String, String)> = members
                    .iter()
                    .map(|(key, value)| (canonical_string(key), value.canonical()))
                    .collect();
                // Without the quote at its end, a key sorts before the longer keys that begin with
                // it.
                members.sort_by(|a, b| a.0[..a.0.len() - 1].cmp(&b.0[..b.0.len() - 1]));
                let member = |(key, value): (String, String)| format!("{key}:{value}");
                format!("{{{}}}", joined(members.into_iter().map(member).collect()))
            }
        }
    }

    /// Writes the value with white space and escapes at places that `chance` chooses.
    pub(super) fn write(&self, chance: &mut impl FnMut() -> usize, out: &mut String) {
        space(chance, out);
        match self {
            Node::Plain(text) => out.push_str(text),
            Node::String(text) => write_string(text, chance, out),
            Node::Array(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    value.write(chance, out);
                }
                out.push(']');
            }
            Node::Object(members) => {
                out.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    space(chance, out);
                    write_string(key, chance, out);
                    space(chance, out);
                    out.push(':');
                    value.write(chance, out);
                }
                space(chance, out);
                out.push('}');
            }
        }
        space(chance, out);
    }
}

fn space(chance: &mut impl FnMut() -> usize, out: &mut String) {
    out.push_str(["", "", "", " ", "\n\t "][chance() % 5]);
}

/// Returns the canonical form of a string: serde_json writes strings as RFC 8785 demands.
fn canonical_string(text: &str) -> String {
    serde_json::to_string(text).expect("a string must become JSON")
}

fn write_string(text: &str, chance: &mut impl FnMut() -> usize, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match chance() % 4 {
            0 => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
            }
            1 if c == '/' => out.push_str("\\/"),
            _ => {
                let quoted = canonical_string(&c.to_string());
                out.push_str(&quoted[1..quoted.len() - 1]);
            }
        }
    }
    out.push('"');
}

proptest! {
    #[test]
    fn every_way_to_write_a_value_has_its_canonical_form(
        node in node(),
        chances in prop::collection::vec(any::<usize>(), 1..40),
    ) {
        let mut chances = chances.into_iter().cycle();
        let mut body = String::new();
        node.write(&mut || chances.next().unwrap_or(0), &mut body);
        let expect = node.canonical();
        prop_assert_eq!(canonical(&body), expect.clone());
        let plain = Digester::Plain;
        let digested = digest_json(&plain, body.as_bytes(), &[], &Conditions::default());
        let digest = ContentDigest::of_canonical_json(&plain, expect.as_bytes());
        prop_assert_eq!(digested.expect("the body must be JSON").digest, digest);
    }

    #[test]
    fn the_digest_comes_with_the_same_fields_and_errors_as_the_canonical_form(
        body in "[\\[\\]{}\",:ab01\\\\u ]{0,32}|\\{\"a\":[\\[\\]{}\",:ab01\\\\u ]{0,16}\\}",
    ) {
        let pointers: Vec<Pointer> = ["/a", "/a/b", "/b/1", "/0", "/"]
            .map(|text| text.parse().expect("the pointer must be valid"))
            .into();
        let digested = digest_json(
            &Digester::Plain,
            body.as_bytes(),
            &pointers.iter().collect::<Vec<_>>(),
            &Conditions::default(),
        );
        let document = scan(body.as_bytes(), &pointers);
        let expect = document.map(|document| DigestedJson {
            digest: ContentDigest::of_canonical_json(&Digester::Plain, &document.canonical),
            extracts: document.extracts,
            holds: Vec::new(),
        });
        prop_assert_eq!(digested, expect);
    }

    #[test]
    fn it_agrees_with_serde_json(value in value()) {
        let pretty = serde_json::to_string_pretty(&value).expect("a value must become JSON");
        let canonical = canonical(&pretty);
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&canonical).ok(), Some(value));
        prop_assert_eq!(super::tests::canonical(&canonical), canonical);
    }

    #[test]
    fn it_accepts_what_serde_json_accepts(bytes in "[\\[\\]{}\",:0-9a-z\\\\.eE+ -]{0,24}") {
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&bytes).is_ok();
        prop_assert_eq!(scan(bytes.as_bytes(), &[]).is_ok(), theirs, "{}", bytes);
    }

    #[test]
    fn any_bytes_are_scanned_without_a_panic(bytes: Vec<u8>) {
        let _ = scan(&bytes, &["/a/0".parse().expect("the pointer must be valid")]);
    }
}
