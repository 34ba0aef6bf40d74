//! Checks bodies against schemas: what is valid, and how a violation is described.

use super::*;
use serde_json::json;

/// Checks a body for a handler that builds no payload from it.
fn check(schemas: Option<&Schemas>, topic: &Topic, body: &[u8]) -> Result<(), Broken> {
    let body = Bytes::copy_from_slice(body);
    super::check(schemas, topic, &body, false).map(drop)
}

fn detail(body: &str) -> Result<(), String> {
    let schema = json!({
        "type": "object",
        "required": ["uid"],
        "properties": { "uid": { "type": "string" }, "score": { "type": "integer" } },
    });
    let schemas = Schemas::compile([("a.b", &schema)]).expect("the schema must compile");
    let topic = "x.a.b".parse().expect("the topic must be valid");
    check(Some(&schemas), &topic, body.as_bytes()).map_err(|broken| broken.detail)
}

#[test]
fn a_broken_body_tells_path_and_rule_and_no_value() {
    assert_eq!(detail(r#"{"uid":"u","more":1}"#), Ok(()));
    assert_eq!(
        detail(r#"{"uid":4711}"#),
        Err("/uid: the value is not of type \"string\" (rule /properties/uid/type)".into())
    );
    assert_eq!(
        detail(r#"{"score":"SECRET"}"#).map_err(|detail| detail.contains("SECRET")),
        Err(false)
    );
    assert_eq!(
        detail("{}"),
        Err("the body: \"uid\" is a required property (rule /required)".into())
    );
    assert_eq!(
        detail("nope"),
        Err("the body is not JSON (at byte 0)".into())
    );
    assert!(detail(&"[".repeat(100_000)).is_err_and(|text| text.contains("deeper")));
    assert!(detail(r#"{"uid":"\ud800"}"#).is_err_and(|text| text.contains("surrogate")));
}

#[test]
fn a_type_without_a_schema_passes() {
    let schema = json!(false);
    let schemas = Schemas::compile([("a.b", &schema)]).expect("the schema must compile");
    let topic = "x.new.type".parse().expect("the topic must be valid");
    assert_eq!(check(Some(&schemas), &topic, b"{}"), Ok(()));
    let schemas = Schemas::compile([(Schemas::UNKNOWN, &schema)]).expect("the schema must compile");
    assert!(check(Some(&schemas), &topic, b"{}").is_err());
    assert!(check(None, &topic, b"{} x").is_err());
}

fn passes(schema: &Value, body: &str) -> bool {
    let schemas = Schemas::compile([("a.b", schema)]).expect("the schema must compile");
    let topic = "x.a.b".parse().expect("the topic must be valid");
    check(Some(&schemas), &topic, body.as_bytes()).is_ok()
}

/// The schema sees the exact number of the body, and not the nearest float.
#[test]
fn a_number_is_the_one_that_is_written() {
    let integer = json!({ "type": "integer" });
    let whole = [
        "712",
        "712.0",
        "7.12e2",
        "0e-400",
        "9007199254740993.0",
        "18446744073709551617",
        "1e400",
    ];
    let fractions = [
        "712.5",
        "712.00000000000000000001",
        "711.99999999999999999999",
        "-0.00000000000000000000000000001",
        "1e-400",
        "9007199254740993.5",
        "18446744073709551616.5",
    ];
    for (text, valid) in
        (whole.iter().map(|text| (text, true))).chain(fractions.iter().map(|text| (text, false)))
    {
        assert_eq!(passes(&integer, text), valid, "{text}");
        assert_eq!(
            passes(&json!({ "type": ["string", "integer"] }), text),
            valid,
            "{text}"
        );
        assert!(passes(&json!({ "type": "number" }), text), "{text}");
    }
    // In draft 4, `712.0` is not an integer: how the number is written decides, and not its
    // value.
    let draft_4 = "http://json-schema.org/draft-04/schema#";
    let integer = json!({ "$schema": draft_4, "type": "integer" });
    assert!(passes(&integer, "712") && !passes(&integer, "712.0"));
}

#[test]
fn numbers_are_compared_exactly() {
    let large: u64 = 9_007_199_254_740_993;
    for (schema, body, valid) in [
        (json!({ "const": large }), "9007199254740993.0", true),
        (json!({ "const": large }), "9007199254740992", false),
        (json!({ "const": large }), "9007199254740992.0", false),
        (
            json!({ "enum": [1, large + 1] }),
            "9007199254740993.5",
            false,
        ),
        (json!({ "const": 712 }), "7.12e2", true),
        (json!({ "const": 712 }), "712.00000000000000000001", false),
        (json!({ "const": 0.5 }), "5e-1", true),
        (json!({ "maximum": large - 1 }), "9007199254740993.0", false),
        (json!({ "minimum": large }), "9007199254740993.0", true),
        (json!({ "maximum": 712 }), "712.00000000000000000001", false),
        (
            json!({ "maximum": -712 }),
            "-711.99999999999999999999",
            false,
        ),
        (json!({ "minimum": 712 }), "711.99999999999999999999", false),
        (json!({ "exclusiveMinimum": 0 }), "1e-400", true),
        (json!({ "exclusiveMaximum": 0 }), "-1e-400", true),
        (
            json!({ "maximum": u64::MAX }),
            "18446744073709551616",
            false,
        ),
        (
            json!({ "maximum": u64::MAX }),
            "1.8446744073709551615e19",
            true,
        ),
        (json!({ "maximum": 1 }), "1e400", false),
        (json!({ "minimum": 1 }), "1e400", true),
        (json!({ "minimum": 1 }), "-1e400", false),
        (
            json!({ "multipleOf": 1 }),
            "712.00000000000000000001",
            false,
        ),
        (json!({ "multipleOf": 2 }), "9007199254740993.0", false),
        (json!({ "multipleOf": 2 }), "18446744073709551617", false),
        (
            json!({ "uniqueItems": true }),
            "[9007199254740993.0,9007199254740992]",
            true,
        ),
        (json!({ "uniqueItems": true }), "[1,1.0]", false),
    ] {
        assert_eq!(
            passes(&schema, body),
            valid,
            "whether {body} matches the schema {schema} must be {valid}"
        );
    }
}

/// Before draft 2019-09, keywords beside `$ref` are ignored.
#[test]
fn a_schema_means_what_its_draft_says() {
    let schema = |dialect: &str| {
        let (name, text) = ("definitions", json!({ "type": "string" }));
        json!({
            "$schema": dialect,
            name: { "x": text },
            "properties": { "code": { "$ref": "#/definitions/x", "maxLength": 3 } },
        })
    };
    let body = r#"{"code":"four"}"#;
    for (dialect, valid) in [
        ("http://json-schema.org/draft-04/schema#", true),
        ("http://json-schema.org/draft-06/schema#", true),
        ("http://json-schema.org/draft-07/schema#", true),
        ("http://json-schema.org/draft-07/schema", true),
        ("https://json-schema.org/draft/2019-09/schema", false),
        ("https://json-schema.org/draft/2020-12/schema", false),
    ] {
        let schema = schema(dialect);
        assert_eq!(passes(&schema, body), valid, "{dialect}");
        assert!(!passes(&schema, r#"{"code":4}"#), "{dialect}");
    }
    let mut newest = schema("");
    newest
        .as_object_mut()
        .expect("the schema must be an object")
        .remove("$schema");
    assert!(
        !passes(&newest, body),
        "a schema without $schema must have the meaning of draft 2020-12"
    );
}

#[test]
fn a_format_is_not_checked_in_any_draft() {
    for dialect in [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2020-12/schema",
    ] {
        let schema = json!({ "$schema": dialect, "format": "email" });
        assert!(passes(&schema, r#""user""#), "{dialect}");
    }
}

#[test]
fn an_unknown_dialect_is_refused_by_its_name() {
    let other = "https://example.com/my-dialect";
    let root = json!({ "$schema": other, "type": "object" });
    let inner = json!({ "properties": { "a": { "$id": "a", "$schema": other } } });
    for schema in [root, inner] {
        let refused = Schemas::compile([("a.b", &schema)]).map(drop);
        let refused = refused
            .expect_err("a schema of an unknown dialect must be refused")
            .to_string();
        assert!(
            refused.contains("a.b.json") && refused.contains(other),
            "{refused}"
        );
    }
    // Here `$schema` is the name of a property and not a keyword, so it names no dialect.
    let data = json!({ "properties": { "$schema": { "const": { "$schema": other } } } });
    assert!(Schemas::compile([("a.b", &data)]).is_ok());
    for bad in [
        json!({ "$schema": 7 }),
        json!({ "$ref": "other.json" }),
        json!({ "$ref": "https://example.com/other.json" }),
    ] {
        assert!(Schemas::compile([("a.b", &bad)]).is_err(), "{bad}");
    }
}
