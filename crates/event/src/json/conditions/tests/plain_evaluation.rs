//! Compares the decisions of the scanner with a simple evaluation of the same conditions on a tree
//! of values.

use std::cmp::Ordering;

use proptest::prelude::*;

use super::super::super::tests::{Node, node};
use super::{condition, decide, number};
use crate::{Condition, ExactNumber, Literal, Test};

/// The numbers in random bodies and conditions, each with its rank in the order of their values.
const NUMBERS: [(&str, i32); 5] = [
    ("-0.50e+1", -5),
    ("-5", -5),
    ("0.0", 0),
    ("500e-2", 5),
    ("1e400", 400),
];

fn rank(text: &str) -> Option<i32> {
    NUMBERS
        .iter()
        .find(|(one, _)| *one == text)
        .map(|(_, rank)| *rank)
}

fn compare(value: &Node, number: &ExactNumber) -> Option<Ordering> {
    let Node::Plain(text) = value else {
        return None;
    };
    Some(rank(text)?.cmp(&rank(number.as_str())?))
}

/// Decides a condition on a tree of values, without scanning a text.
fn plainly(body: &Node, condition: &Condition) -> bool {
    let mut at = Some(body);
    for token in condition.pointer.tokens() {
        at = match at {
            Some(Node::Object(members)) => {
                let named: Vec<_> = members.iter().filter(|(key, _)| key == token).collect();
                match named[..] {
                    [] => None,
                    [(_, value)] => Some(value),
                    _ => return false,
                }
            }
            Some(Node::Array(values)) => match token.as_str() {
                "0" => values.first(),
                "1" => values.get(1),
                _ => None,
            },
            Some(Node::Plain(_) | Node::String(_)) | None => None,
        };
    }
    let Some(value) = at else {
        return condition.test == Test::Exists(false);
    };
    let is = |literal: &Literal| match (literal, value) {
        (Literal::String(text), Node::String(found)) => text == found,
        (Literal::Bool(is), Node::Plain(found)) => *found == if *is { "true" } else { "false" },
        (Literal::Number(number), value) => compare(value, number) == Some(Ordering::Equal),
        (Literal::String(_) | Literal::Bool(_), _) => false,
    };
    match &condition.test {
        Test::Exists(exists) => *exists,
        Test::Null(is_null) => *is_null == matches!(value, Node::Plain("null")),
        Test::OneOf(literals) => literals.iter().any(is),
        Test::Prefix(text) => matches!(value, Node::String(found) if found.starts_with(text)),
        Test::Less(number) => compare(value, number) == Some(Ordering::Less),
        Test::Greater(number) => compare(value, number) == Some(Ordering::Greater),
    }
}

fn any_condition() -> impl Strategy<Value = Condition> {
    let text = || prop_oneof!["[a-c]{0,2}", "[a-c\"\\\\\n\u{1}/é😀]{0,3}"];
    let number = || prop::sample::select(NUMBERS.map(|(text, _)| number(text)).to_vec());
    let literal = prop_oneof![
        text().prop_map(Literal::String),
        number().prop_map(Literal::Number),
        any::<bool>().prop_map(Literal::Bool),
    ];
    let test = prop_oneof![
        any::<bool>().prop_map(Test::Exists),
        any::<bool>().prop_map(Test::Null),
        prop::collection::vec(literal, 1..4).prop_map(Test::OneOf),
        text().prop_map(Test::Prefix),
        number().prop_map(Test::Less),
        number().prop_map(Test::Greater),
    ];
    let token = prop_oneof!["[a-c]{0,2}", "[01]"];
    let tokens = prop::collection::vec(token, 1..4);
    (tokens, test).prop_map(|(tokens, test)| condition(&format!("/{}", tokens.join("/")), test))
}

proptest! {
    #[test]
    fn the_scan_decides_as_a_plain_evaluation_does(
        node in node(),
        conditions in prop::collection::vec(any_condition(), 1..12),
        chances in prop::collection::vec(any::<usize>(), 1..40),
    ) {
        let mut chances = chances.into_iter().cycle();
        let mut body = String::new();
        node.write(&mut || chances.next().unwrap_or(0), &mut body);
        let expect: Vec<bool> = conditions.iter().map(|it| plainly(&node, it)).collect();
        prop_assert_eq!(decide(&body, &conditions), Ok(expect), "{}", body);
    }
}
