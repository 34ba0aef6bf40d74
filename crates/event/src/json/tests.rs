//! Tests the scanner with tables of examples, and compares it with serde_json on random texts.

use super::*;
use proptest::prelude::*;

fn canonical(body: &str) -> String {
    let document = scan(body.as_bytes(), &[]).expect("JSON");
    String::from_utf8(document.canonical).expect("UTF-8")
}

fn extract(body: &str, pointer: &str) -> Extract {
    let pointer = pointer.parse().expect("a pointer");
    scan(body.as_bytes(), &[pointer])
        .expect("JSON")
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

proptest! {
    #[test]
    fn it_agrees_with_serde_json(value in value()) {
        let pretty = serde_json::to_string_pretty(&value).expect("JSON");
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
        let _ = scan(&bytes, &["/a/0".parse().expect("a pointer")]);
    }
}
