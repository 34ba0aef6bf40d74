//! Compares bodies as the schema checker reads them with what serde_json reads.

#![allow(clippy::unwrap_used)]

use hookbox_event::scan;
use serde_json::json;

use super::*;

fn read(body: &str) -> Result<Instance, LoneSurrogate> {
    Instance::read(&scan(body.as_bytes(), &[]).unwrap().canonical)
}

#[test]
fn a_body_is_read_as_serde_json_reads_it() {
    let deep = "[".repeat(127) + &"]".repeat(127);
    for body in [
        "null",
        " [ ] ",
        "{ }",
        r#"{"b":[true,false,null,{}],"a":{"x":[[],[1,-2,3.5]]},"":""}"#,
        r#"{"twice":1,"other":2,"twice":[3]}"#,
        r#"["plain","\u00e9 é","\"\\\/\b\f\n\r\t\u0000","\ud83d\ude00","😀"]"#,
        r#"{"\u0061\"":"key","a]}":"],[{"}"#,
        "[0,-0.5,1e3,18446744073709551615,-9223372036854775808]",
        deep.as_str(),
    ] {
        let expected: Value = serde_json::from_str(body).unwrap();
        let instance = read(body).unwrap();
        let own = (&instance).to_value().into_owned();
        assert!(
            jsonschema::json::cmp::equal(&own, &expected),
            "{body}: {own}"
        );
        assert!((&instance).equals_value(&expected), "{body}");
    }
    assert_eq!(read(r#"{"a":["\udc00"]}"#), Err(LoneSurrogate));
    assert_eq!(read(r#"{"\ud800":1}"#), Err(LoneSurrogate));
}

#[test]
fn other_values_are_not_equal() {
    let all = [
        json!(null),
        json!(false),
        json!(0),
        json!(0.5),
        json!(""),
        json!([]),
        json!([0]),
        json!([0, 0]),
        json!({}),
        json!({ "a": 0 }),
        json!({ "b": 0 }),
        json!({ "a": 0, "b": 0 }),
        json!({ "a": 1 }),
    ];
    for (at, value) in all.iter().enumerate() {
        let instance = read(&value.to_string()).unwrap();
        for (other_at, other) in all.iter().enumerate() {
            let equal = (&instance).equals_value(other);
            assert_eq!(equal, at == other_at, "{value} {other}");
        }
    }
}
