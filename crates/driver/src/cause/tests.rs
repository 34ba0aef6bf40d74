//! Tests which causes are found in the details of real errors.

use std::collections::BTreeMap;

use super::*;

/// Pairs of a detail and its expected cause: one for each kind of detail that hookbox, its
/// databases and handlers write.
const DETAILS: [(&str, &str); 31] = [
    (
        "the body is not JSON (at byte 4711)",
        "the body is not JSON (at byte <n>)",
    ),
    (
        "another body came under the id of event \
         0a01010101010101010101010101010101010101010101010101010101010101",
        "another body came under the id of event <id>",
    ),
    (
        "/uid: the value is not of type \"string\" (rule /properties/uid/type)",
        "/uid: the value is not of type \"string\" (rule /properties/uid/type)",
    ),
    (
        "/traits/17/score: the value is less than the minimum of 300 (rule /properties/s2000/min)",
        "/traits/<n>/score: the value is less than the minimum of <n> (rule /properties/s2000/min)",
    ),
    (
        "the body: \"uid\" is a required property (rule /required)",
        "the body: \"uid\" is a required property (rule /required)",
    ),
    (
        "/t/1/a: no (rule /a); /t/2/a: no (rule /a); /t/2/b: no (rule /b); and more",
        "/t/<n>/a: no (rule /a); /t/<n>/b: no (rule /b)",
    ),
    (
        "Additional properties are not allowed ('x', 'why not', 'y' were unexpected)",
        "Additional properties are not allowed ('<value>' were unexpected)",
    ),
    (
        "error returned from database: duplicate key value violates unique constraint \
         \"begini_scores_pkey\" at line 666",
        "error returned from database: duplicate key value violates unique constraint \
         \"begini_scores_pkey\"",
    ),
    (
        "Key (event_id, uid)=(\\x0102, it's (mine)) already exists.",
        "Key (event_id, uid)=(<value>) already exists.",
    ),
    (
        "invalid input syntax for type integer: \"seven\"",
        "invalid input syntax for type integer: \"<value>\"",
    ),
    (
        "error returned from database: (code: 787) FOREIGN KEY constraint failed",
        "error returned from database: (code: 787) FOREIGN KEY constraint failed",
    ),
    (
        "SQLSTATE 22P02, code: \"23505\", status 503, os error 111, HTTP/1.1 404",
        "SQLSTATE 22P02, code: \"23505\", status 503, os error 111, HTTP/<n> <n>",
    ),
    (
        "the service answered 404 Not Found at http://127.0.0.1:18210: no order 17",
        "the service answered 404 Not Found at http://<n>: no order <n>",
    ),
    (
        "it answered 4711 times, answered 12, answered 999 and answered: 404",
        "it answered <n> times, answered <n>, answered <n> and answered: <n>",
    ),
    (
        "the field \"score\" is of another type",
        "the field \"score\" is of another type",
    ),
    (
        "no account for \"SIM-000123\", nor for cus_Na6dX7aXxi11N4, u4711 or 'ada'",
        "no account for \"<value>\", nor for cus_<id> or '<value>'",
    ),
    (
        "missing field `uid` at line 1 column 17",
        "missing field `uid`",
    ),
    (
        "unknown variant `GOLD`, expected `silver`; invalid type: integer `5`",
        "unknown variant `<value>`, expected `silver`; invalid type: integer `<n>`",
    ),
    (
        "the handler panicked: called `Option::unwrap()` on a `None` value",
        "the handler panicked: called `Option::unwrap()` on a `None` value",
    ),
    (
        "the handler panicked: index out of bounds: the len is 3 but the index is -99",
        "the handler panicked: index out of bounds: the len is <n> but the index is <n>",
    ),
    (
        "the handler ran longer than its time limit of 250ms",
        "the handler ran longer than its time limit of <n>ms",
    ),
    (
        "connect 127.0.0.1:5432 at 2026-11-26T17:38:53.123Z: took 1.5s of 1,000 ms",
        "connect <n> at <time>: took <n>s of <n> ms",
    ),
    (
        "request 550e8400-e29b-41d4-a716-446655440000 of deadbeef42 and 0xff7 in accounts_2026_11",
        "request <id> of <id> and <id> in accounts_<n>_<n>",
    ),
    (
        "type int4, address2, utf8 and v2 don't match the partners' list",
        "type int4, address2, utf8 and v2 don't match the partners' list",
    ),
    (
        "the body does not fit the handler: /lines/17/cents: expected i64 (line 3, column 27)",
        "the body does not fit the handler: /lines/<n>/cents: expected i64 (line <n>, column <n>)",
    ),
    (
        "the body does not fit the handler: /state: expected one of `open`, `paid` (line 1, \
         column 9)",
        "the body does not fit the handler: /state: expected one of `open`, `paid` (line <n>, \
         column <n>)",
    ),
    ("an \"open quote", "an \"open quote"),
    ("", ""),
    ("Zürich, 5 €, 東京", "Zürich, <n> €, 東京"),
    ("what\nstands behind 7", "what"),
    ("it failed:\nno 7\nmore", "it failed:\nno <n>"),
];

#[test]
fn a_cause_is_a_detail_without_what_changes() {
    for (detail, expect) in DETAILS {
        assert_eq!(cause(detail), expect, "{detail}");
        assert_eq!(
            cause(expect),
            expect,
            "a text that is already a cause must stay unchanged"
        );
    }
}

/// Similar details that have different causes. Each differs from the others in a word that
/// identifies its cause, so all causes must differ.
#[test]
fn causes_that_are_nearly_the_same_stay_apart() {
    const APART: [&str; 28] = [
        "/uid: the value is not of type \"string\" (rule /properties/uid/type)",
        "/cid: the value is not of type \"string\" (rule /properties/cid/type)",
        "/uid: the value is not of type \"object\" (rule /properties/uid/type)",
        "/a/1/uid: the value is not of type \"string\" (rule /properties/a/anyOf/0/type)",
        "/a/1/uid: the value is not of type \"string\" (rule /properties/a/anyOf/1/type)",
        "the body: \"uid\" is a required property (rule /required)",
        "the body: \"event\" is a required property (rule /required)",
        "the partner answered SQLSTATE 23505",
        "the partner answered SQLSTATE 23503",
        "the partner answered with status 503",
        "the partner answered with status 404",
        "duplicate key value violates unique constraint \"scores_pkey\"",
        "duplicate key value violates unique constraint \"applications_pkey\"",
        "null value in column \"uid\" of relation \"scores\" violates not-null constraint",
        "null value in column \"kind\" of relation \"scores\" violates not-null constraint",
        "canceling statement due to statement timeout",
        "canceling statement due to lock timeout",
        "the handler ran longer than its time limit of 30s",
        "the handler panicked: called `Option::unwrap()` on a `None` value",
        "the handler panicked: called `Option::expect()` on a `None` value",
        "another body came under the id of event 0123456789abcdef",
        "the field \"score\" is missing",
        "the field \"score\" is of another type",
        "the field \"platform\" is missing",
        "the body does not fit the handler: /uid: it is missing (line 1, column 2)",
        "the body does not fit the handler: /cid: it is missing (line 1, column 2)",
        "the body does not fit the handler: /uid: expected i64 (line 1, column 2)",
        "the body does not fit the handler: /uid: expected a string (line 1, column 2)",
    ];
    let mut causes = BTreeMap::new();
    for detail in APART {
        let other = causes.insert(cause(detail), detail);
        assert_eq!(
            other, None,
            "the cause of this detail must differ from all others: {detail}"
        );
    }
}

/// Details that differ only in numbers, ids and values must have the same cause. The random
/// generator is `xorshift64` with a fixed seed, so every run tests the same details.
#[test]
fn a_cause_does_not_depend_on_ids_numbers_and_values() {
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let texts = [
        "ada",
        "Zoë Ø",
        "it\\\"s",
        "x@example.com",
        "(a)",
        "17 to 4",
        "; and",
        "`b`",
    ];
    for _ in 0..2_000 {
        let number =
            next() % 10_u64.pow(u32::try_from(next() % 9).expect("the number must fit") + 1);
        let id = format!(
            "{:016x}{:016x}{:016x}{:016x}",
            next() | 1,
            next(),
            next(),
            next()
        );
        let value = texts[usize::try_from(next()).unwrap_or(usize::MAX) % texts.len()];
        let detail = format!(
            "event {id} at byte {number} of \"{value}\" (/a/{number}/b, -{number}, {number}.5): no"
        );
        assert_eq!(
            cause(&detail),
            "event <id> at byte <n> of \"<value>\" (/a/<n>/b, <n>): no",
            "{detail}"
        );
    }
}

#[test]
fn where_a_long_detail_was_cut_does_not_matter() {
    let long = |values: usize| {
        let text = "word \"value\" ".repeat(values) + &"and so on ".repeat(600);
        crate::storable(&text).into_owned()
    };
    assert_eq!(cause(&long(100)).chars().count(), CAUSE_CHARS_MAX);
    assert_eq!(cause(&long(100)), cause(&long(101)));
    // The function must not panic on unusual texts.
    for text in [
        "\"",
        "'",
        "`",
        "=(",
        "=((",
        "=)",
        "(rule /",
        " at line ",
        "\\",
        "-",
        "€",
    ] {
        assert_eq!(cause(text), text);
        assert_eq!(cause(&cause(text)), cause(text));
    }
    assert_eq!(cause("1-"), "<n>-");
}
