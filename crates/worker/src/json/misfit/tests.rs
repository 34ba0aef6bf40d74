//! Tests which place and which expectation are found for a body that does not fit a type.

#![allow(clippy::unwrap_used, dead_code)]

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::*;

/// A type with every form that serde can derive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    id: String,
    unit_price: u32,
    lines: Vec<Line>,
    state: State,
    by_day: BTreeMap<u8, i64>,
    by_name: Option<BTreeMap<String, Cents>>,
    pair: Option<(bool, f64)>,
    exact: Box<RawValue>,
    wide: Option<u128>,
    source: Option<Source>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "a/b")]
    sku: String,
    amount: Option<Amount>,
}

#[derive(Debug, Deserialize)]
struct Cents(i64);

#[derive(Debug, Deserialize)]
#[serde(try_from = "i64")]
struct Amount(i64);

impl TryFrom<i64> for Amount {
    type Error = String;

    fn try_from(amount: i64) -> Result<Self, String> {
        if amount < 0 {
            return Err(format!("{amount} is negative"));
        }
        Ok(Self(amount))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Open,
    Paid(u8),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type")]
enum Source {
    Shop { number: u8 },
}

const WHOLE: &str = r#"{"id":"x","unitPrice":1,"lines":[{"a/b":"s","amount":2},{"a/b":"t"}],
    "state":{"paid":3},"byDay":{"1":-4},"byName":{"ada":5},"pair":[true,6],"exact":7.0,
    "wide":18446744073709551616,"source":{"type":"Shop","number":8}}"#;

fn found(body: &str) -> Option<String> {
    let json = Json::read(&Bytes::copy_from_slice(body.as_bytes())).unwrap();
    let found = json.misfit::<Order>().map(|misfit| misfit.to_string());
    let is_read = serde_json::from_str::<Order>(body).is_ok();
    assert_eq!(
        found.is_none(),
        is_read,
        "a misfit must be found only where serde_json refuses {body}: {found:?}"
    );
    found
}

#[test]
fn a_place_and_what_is_expected_there_are_found() {
    assert_eq!(found(WHOLE), None);
    for (part, instead, expected) in [
        (r#""id":"x","#, "", "/id: it is missing"),
        (r#""id":"x""#, r#""id":9"#, "/id: expected a string"),
        (r#""id":"x""#, r#""id":null"#, "/id: expected a string"),
        (r#"Price":1"#, r#"Price":-1"#, "/unitPrice: expected u32"),
        (r#"Price":1"#, r#"Price":1.0"#, "/unitPrice: expected u32"),
        (
            r#""a/b":"t""#,
            r#""a/b":[]"#,
            "/lines/1/a~1b: expected a string",
        ),
        (r#""a/b":"t""#, "", "/lines/1/a~1b: it is missing"),
        (
            r#""a/b":"t""#,
            r#""a/b":"t","secret":1"#,
            "/lines/1: it has a member that the handler does not accept",
        ),
        (
            r#""amount":2"#,
            r#""amount":-2"#,
            "/lines/0/amount: the type of the handler refuses the value",
        ),
        (r#"{"a/b":"t"}"#, "1", "/lines/1: expected struct Line"),
        (
            r#"{"paid":3}"#,
            r#""void""#,
            "/state: expected one of `open`, `paid`",
        ),
        (
            r#"{"paid":3}"#,
            "3",
            "/state: expected one of `open`, `paid`",
        ),
        (
            r#"{"paid":3}"#,
            r#"{"paid":999}"#,
            "/state/paid: expected u8",
        ),
        (r#"{"1":-4}"#, r#"{"1":"x"}"#, "/byDay/*: expected i64"),
        (
            r#"{"1":-4}"#,
            r#"{"one":-4}"#,
            "/byDay: expected names of members that are u8",
        ),
        (r#"{"ada":5}"#, r#"{"ada":"5"}"#, "/byName/*: expected i64"),
        ("[true,6]", "[6,true]", "/pair/0: expected a boolean"),
        ("[true,6]", "[true,6,7]", "/pair: it has too many elements"),
        ("[true,6]", "[true]", "/pair: expected a tuple of size 2"),
        ("18446744073709551616", "-1", "/wide: expected u128"),
        (r#""number":8"#, r#""number":"8""#, "/source: expected u8"),
        (r#","number":8"#, "", "/source/number: it is missing"),
        ("\"Shop\"", "\"Bank\"", "/source/*: expected one of `Shop`"),
        (r#","source""#, r#","more":{"x":[]},"source""#, ""),
    ] {
        let body = WHOLE.replacen(part, instead, 1);
        assert_ne!(body, WHOLE, "{part}");
        assert_eq!(found(&body).unwrap_or_default(), expected, "{body}");
    }
    assert_eq!(
        found("7").as_deref(),
        Some("the body: expected struct Order")
    );
}

/// Values, and names that the type does not declare, come from the sender.
#[test]
fn nothing_of_the_sender_is_in_an_error() {
    for (part, instead) in [
        (r#""id":"x""#, r#""id":{"ada":"ada"}"#),
        ("{\"a/b\":\"t\"}", "{\"a/b\":\"t\",\"ada\":1}"),
        (r#"{"ada":5}"#, r#"{"ada":"ada"}"#),
        (r#"{"paid":3}"#, r#""ada""#),
        (r#"{"paid":3}"#, r#"{"ada":1}"#),
        (r#"{"1":-4}"#, r#"{"ada":1}"#),
        ("\"Shop\"", "\"ada\""),
        (r#""amount":2"#, r#""amount":"ada""#),
    ] {
        let error = found(&WHOLE.replacen(part, instead, 1)).unwrap();
        assert!(!error.contains("ada"), "{error}");
    }
}
