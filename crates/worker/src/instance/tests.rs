//! Compares bodies as the schema checker reads them with what serde_json reads.

#![allow(clippy::unwrap_used)]

use hookbox_event::scan;
use serde_json::json;

use super::reader::{read, validate};
use super::*;

fn instance(body: &str) -> Instance {
    read(body.as_bytes()).unwrap().root
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
        let instance = instance(body);
        let own = (&instance).to_value().into_owned();
        assert!(
            jsonschema::json::cmp::equal(&own, &expected),
            "serde_json must read {body} as the value {own}"
        );
        assert!((&instance).equals_value(&expected), "{body}");
    }
    for lone in [r#"{"a":["\udc00"]}"#, r#"{"\ud800":1}"#] {
        assert!(read(lone.as_bytes()).unwrap().has_lone_surrogate, "{lone}");
    }
}

/// The scanner decides at ingest which event a body belongs to, so the reader must accept the same
/// bodies and report the same errors. Each byte of some bodies is replaced, removed and doubled.
#[test]
fn the_reader_accepts_what_the_scanner_accepts() {
    let deepest = "[".repeat(127) + &"]".repeat(127);
    let deeper = "{\"a\":".repeat(128) + "1" + &"}".repeat(128);
    let seeds = [
        r#" {"b":[true, false,null,{ }] ,"a":{"x":[[],[1,-2,3.5e-1]]},"":"" } "#,
        r#"["pl\u00e9in\ud83d\ude00\ud800","é\"\\\/\b\f\n\r\t",-0,0.1,1E+3,10]"#,
        r#"{"twice":1,"twice":[3]}"#,
        "1e400",
        "",
    ];
    let mut bodies = vec![deepest.into_bytes(), deeper.into_bytes()];
    for seed in seeds {
        let seed = seed.as_bytes();
        bodies.push(seed.to_vec());
        for at in 0..seed.len() {
            bodies.push([&seed[..at], &seed[at + 1..]].concat());
            bodies.push([&seed[..at], &seed[at..=at], &seed[at..]].concat());
            bodies.push(seed[..at].to_vec());
            for byte in b"\"\\{}[],: 0-.eEutn\x01\xff" {
                bodies.push([&seed[..at], &[*byte], &seed[at + 1..]].concat());
            }
        }
    }
    for body in bodies {
        let scanned = scan(&body, &[]).map(drop);
        let text = String::from_utf8_lossy(&body);
        assert_eq!(read(&body).map(drop), scanned, "{text}");
        assert_eq!(validate(&body), scanned, "{text}");
    }
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
        let instance = instance(&value.to_string());
        for (other_at, other) in all.iter().enumerate() {
            let equal = (&instance).equals_value(other);
            assert_eq!(
                equal,
                at == other_at,
                "a value of a body must equal only itself: {value} and {other}"
            );
        }
    }
}
