//! Tests each condition with tables of bodies.

mod plain_evaluation;

use super::*;
use crate::{InvalidNumber, JsonError, Pointer, decide_conditions};

fn number(text: &str) -> ExactNumber {
    ExactNumber::parse(text).expect("the number must be valid")
}

fn string(text: &str) -> Literal {
    Literal::String(text.to_owned())
}

fn of_number(text: &str) -> Literal {
    Literal::Number(number(text))
}

fn condition(pointer: &str, test: Test) -> Condition {
    let pointer: Pointer = pointer.parse().expect("the pointer must be valid");
    Condition { pointer, test }
}

fn decide(body: &str, conditions: &[Condition]) -> Result<Vec<bool>, JsonError> {
    let conditions = Conditions::new(conditions);
    decide_conditions(body.as_bytes(), &conditions)
}

/// Checks for which of the bodies a condition holds.
fn check(pointer: &str, test: &Test, bodies: &[(&str, bool)]) {
    for (body, expect) in bodies {
        let found =
            decide(body, &[condition(pointer, test.clone())]).expect("the body must be JSON");
        assert_eq!(found, [*expect], "{pointer} {test} in {body}");
    }
}

#[test]
fn a_text_is_equal_to_itself_however_it_is_escaped() {
    let test = Test::OneOf(vec![string("a/é😀\n")]);
    check(
        "/k",
        &test,
        &[
            ("{\"k\":\"a/é😀\\n\"}", true),
            (r#"{"k":"\u0061\/\u00E9\ud83d\ude00\u000a"}"#, true),
            ("{\"k\":\"a/é😀\"}", false),
            ("{\"k\":\"a/é😀\\n \"}", false),
            (r#"{"k":"a/é\ud83d\n"}"#, false),
            (r#"{"k":null}"#, false),
            (r#"{"k":["a/é😀\n"]}"#, false),
            (r#"{"k":{"k":"a/é😀\n"}}"#, false),
            ("{}", false),
            ("[]", false),
            ("\"a\"", false),
        ],
    );
    let test = Test::OneOf(vec![string("1")]);
    check(
        "/k",
        &test,
        &[(r#"{"k":1}"#, false), (r#"{"k":"1"}"#, true)],
    );
    let test = Test::OneOf(vec![string("")]);
    check(
        "/k",
        &test,
        &[(r#"{"k":""}"#, true), (r#"{"k":null}"#, false)],
    );
}

#[test]
fn a_number_is_equal_to_every_number_of_its_value() {
    let test = Test::OneOf(vec![of_number("1")]);
    check(
        "/n",
        &test,
        &[
            (r#"{"n":1}"#, true),
            (r#"{"n":1.0}"#, true),
            (r#"{"n":1e0}"#, true),
            (r#"{"n":10E-1}"#, true),
            (r#"{"n":-1}"#, false),
            (r#"{"n":1.0000000000000000000000001}"#, false),
            (r#"{"n":1e99999999999999999999}"#, false),
            (r#"{"n":"1"}"#, false),
            (r#"{"n":true}"#, false),
        ],
    );
    // 64-bit floats cannot distinguish these numbers from numbers close to them.
    let test = Test::OneOf(vec![of_number("9007199254740993"), of_number("0.1")]);
    check(
        "/n",
        &test,
        &[
            (r#"{"n":9007199254740993.0}"#, true),
            (r#"{"n":9007199254740992}"#, false),
            (r#"{"n":1e-1}"#, true),
            (r#"{"n":0.1000000000000000000000001}"#, false),
        ],
    );
    check(
        "/n",
        &Test::OneOf(vec![of_number("0")]),
        &[(r#"{"n":-0.0}"#, true)],
    );
}

#[test]
fn numbers_are_less_or_greater_by_their_values() {
    check(
        "/n",
        &Test::Less(number("1.5")),
        &[
            (r#"{"n":1.4999999999999999999999999}"#, true),
            (r#"{"n":-2e400}"#, true),
            (r#"{"n":1.50}"#, false),
            (r#"{"n":1e400}"#, false),
            (r#"{"n":"1"}"#, false),
            (r#"{"n":null}"#, false),
            (r#"{"n":false}"#, false),
            (r#"{"n":[1]}"#, false),
            ("{}", false),
        ],
    );
    check(
        "/n",
        &Test::Greater(number("-0.1")),
        &[
            (r#"{"n":-0.09999999999999999999999}"#, true),
            (r#"{"n":0}"#, true),
            (r#"{"n":-0.10}"#, false),
            (r#"{"n":-1}"#, false),
            (r#"{"n":"5"}"#, false),
            ("{}", false),
        ],
    );
}

#[test]
fn what_exists_is_any_value() {
    let bodies = [
        (r#"{"k":null}"#, true),
        (r#"{"k":false}"#, true),
        (r#"{"k":0}"#, true),
        (r#"{"k":""}"#, true),
        (r#"{"k":"\ud800"}"#, true),
        (r#"{"k":{}}"#, true),
        (r#"{"k":[]}"#, true),
        (r#"{"x":{"k":1}}"#, false),
        ("{}", false),
        ("[]", false),
        ("1", false),
    ];
    check("/k", &Test::Exists(true), &bodies);
    check(
        "/k",
        &Test::Exists(false),
        &bodies.map(|(body, is)| (body, !is)),
    );
}

#[test]
fn null_is_a_value_and_not_the_lack_of_one() {
    check(
        "/k",
        &Test::Null(true),
        &[
            (r#"{"k":null}"#, true),
            (r#"{"k":0}"#, false),
            ("{}", false),
        ],
    );
    check(
        "/k",
        &Test::Null(false),
        &[
            (r#"{"k":0}"#, true),
            (r#"{"k":{}}"#, true),
            (r#"{"k":null}"#, false),
            ("{}", false),
        ],
    );
}

#[test]
fn a_prefix_is_compared_character_by_character() {
    check(
        "/k",
        &Test::Prefix("a\"é".to_owned()),
        &[
            (r#"{"k":"a\"é"}"#, true),
            (r#"{"k":"a\u0022\u00e9 and more"}"#, true),
            (r#"{"k":"a\"é\ud800"}"#, true),
            (r#"{"k":"a\""}"#, false),
            (r#"{"k":"a\\\"é"}"#, false),
            (r#"{"k":1}"#, false),
            ("{}", false),
        ],
    );
    let test = Test::Prefix("\u{b}".to_owned());
    check(
        "/k",
        &test,
        &[(r#"{"k":"\u000b"}"#, true), (r#"{"k":"\b"}"#, false)],
    );
}

#[test]
fn a_boolean_is_equal_to_no_other_value() {
    let test = Test::OneOf(vec![Literal::Bool(true)]);
    check(
        "/k",
        &test,
        &[
            (r#"{"k":true}"#, true),
            (r#"{"k":false}"#, false),
            (r#"{"k":"true"}"#, false),
            (r#"{"k":1}"#, false),
        ],
    );
}

#[test]
fn a_pointer_is_read_as_rfc_6901_demands() {
    let one = || Test::OneOf(vec![of_number("1")]);
    for (pointer, body, expect) in [
        ("/a~1b", r#"{"a/b":1}"#, true),
        ("/a~0b", r#"{"a~b":1}"#, true),
        ("/~01", r#"{"~1":1}"#, true),
        ("/", r#"{"":1}"#, true),
        ("/a//b", r#"{"a":{"":{"b":1}}}"#, true),
        ("/é", r#"{"\u00e9":1}"#, true),
        ("/a\"", r#"{"a\"":1}"#, true),
        ("/0", r#"[1]"#, true),
        ("/1", r#"[0,1]"#, true),
        ("/1", r#"[1]"#, false),
        ("/1", r#"{"1":1}"#, true),
        ("/01", r#"[0,1]"#, false),
        ("/01", r#"{"01":1}"#, true),
        ("/+1", r#"[0,1]"#, false),
        ("/-1", r#"[1]"#, false),
        ("/-", r#"[1]"#, false),
        ("/10/x", r#"[0,0,0,0,0,0,0,0,0,0,{"x":1}]"#, true),
        ("/99999999999999999999999", r#"[1]"#, false),
        ("/a/0/b/1", r#"{"a":[{"b":[0,1]}]}"#, true),
        ("/a/0/b/1", r#"{"a":[0,{"b":[0,1]}]}"#, false),
        ("/A", r#"{"a":1}"#, false),
    ] {
        check(pointer, &one(), &[(body, expect)]);
    }
}

#[test]
fn no_condition_holds_at_a_repeated_key() {
    for test in [
        Test::Exists(true),
        Test::Exists(false),
        Test::Null(false),
        Test::OneOf(vec![of_number("1"), of_number("2")]),
        Test::Less(number("9")),
    ] {
        check(
            "/a/n",
            &test,
            &[
                (r#"{"a":{"n":1,"n":2}}"#, false),
                (r#"{"a":{"n":1,"\u006e":1}}"#, false),
                (r#"{"a":{"n":1},"a":{"n":1}}"#, false),
                (r#"{"a":{"n":1},"a":{}}"#, false),
                (r#"{"a":{"n":1},"b":0,"a":0}"#, false),
                (r#"{"a":{"n":1,"n":2},"a":{"n":3}}"#, false),
            ],
        );
    }
    // A repeated key stays ambiguous, even if the key above it is repeated, too.
    check(
        "/a/n/x",
        &Test::Exists(true),
        &[
            (r#"{"a":{"n":1,"n":2},"a":{"n":{"x":1}}}"#, false),
            (
                r#"{"a":{"n":{"x":1},"n":2},"a":1,"a":{"n":{"x":1}}}"#,
                false,
            ),
            (r#"{"a":{"n":{"x":1}},"b":{"n":1,"n":2}}"#, true),
        ],
    );
    // Repeated keys elsewhere change nothing.
    check(
        "/a/n",
        &Test::Less(number("9")),
        &[
            (r#"{"b":1,"b":2,"a":{"n":1,"m":0,"m":0}}"#, true),
            (r#"{"a":{"n":1,"x":{"n":1,"n":1}}}"#, true),
        ],
    );
    check(
        "/a",
        &Test::Exists(true),
        &[(r#"{"a":{"n":1,"n":2}}"#, true)],
    );
}

#[test]
fn several_conditions_are_decided_in_one_scan() {
    let conditions = [
        condition("/event/type", Test::OneOf(vec![string("score")])),
        condition("/uid", Test::Exists(true)),
        condition("/event", Test::Null(false)),
        condition("/event/type", Test::Prefix("s".to_owned())),
        condition("/event/type", Test::OneOf(vec![string("other")])),
        condition("/items/0", Test::Greater(number("3"))),
    ];
    let body = r#"{"uid":null,"items":[4],"event":{"type":"score","n":1}}"#;
    let expect = [true, true, true, true, false, true];
    assert_eq!(
        decide(body, &conditions).expect("the body must be JSON"),
        expect
    );
    assert_eq!(decide("[", &conditions), Err(JsonError::Syntax { at: 1 }));
    assert_eq!(decide(body, &[]), Ok(Vec::new()));
}

#[test]
fn a_number_that_cannot_be_compared_exactly_is_refused() {
    for text in ["0", "-1.50e+07", "1e999", "1E-999", "18446744073709551616"] {
        assert_eq!(number(text).as_str(), text);
    }
    let long = "1".repeat(101);
    for text in [
        "",
        "-",
        "+1",
        "01",
        ".5",
        "1.",
        "1_0",
        "0x1",
        "inf",
        "1e1000",
        "1e-9999999999",
    ] {
        assert_eq!(ExactNumber::parse(text), Err(InvalidNumber), "{text}");
    }
    assert_eq!(ExactNumber::parse(&long), Err(InvalidNumber));
}

#[test]
fn conditions_on_one_value_may_exclude_each_other() {
    let one_of = |values: &[&str]| {
        let literal = |text: &&str| match ExactNumber::parse(text) {
            Ok(number) => Literal::Number(number),
            Err(InvalidNumber) => string(text),
        };
        Test::OneOf(values.iter().map(literal).collect())
    };
    for (this, other, expect) in [
        (one_of(&["a"]), one_of(&["b"]), true),
        (one_of(&["a", "1"]), one_of(&["b", "2.0"]), true),
        (one_of(&["a", "b"]), one_of(&["b"]), false),
        (one_of(&["1"]), one_of(&["10e-1"]), false),
        (Test::Exists(true), Test::Exists(false), true),
        (Test::Exists(true), Test::Exists(true), false),
        (one_of(&["a"]), Test::Prefix("b".to_owned()), false),
        (Test::Less(number("1")), Test::Greater(number("2")), false),
    ] {
        let (this, other) = (condition("/k", this), condition("/k", other));
        assert_eq!(this.excludes(&other), expect, "{this}, {other}");
        assert_eq!(other.excludes(&this), expect, "{other}, {this}");
        let elsewhere = condition("/other", other.test.clone());
        assert!(!this.excludes(&elsewhere), "{this}, {elsewhere}");
    }
}

#[test]
fn a_huge_value_is_compared_within_the_body() {
    let body = format!(
        r#"{{"s":"{}","n":{}.0}}"#,
        "x".repeat(1 << 20),
        "9".repeat(1 << 20)
    );
    let conditions = [
        condition("/s", Test::Prefix("xxx".to_owned())),
        condition("/s", Test::OneOf(vec![string("xxx")])),
        condition("/n", Test::Greater(number("1e999"))),
        condition("/n", Test::OneOf(vec![of_number("9")])),
    ];
    assert_eq!(
        decide(&body, &conditions),
        Ok(vec![true, false, true, false])
    );
}
