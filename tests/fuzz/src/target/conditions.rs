//! The target `conditions`: decides the conditions of routes while a body is scanned, and compares
//! each decision with the one on the parsed body.

mod parsed;

use hookbox_event::{Condition, Conditions, ExactNumber, Literal, Test, decide_conditions};

use super::{Target, class, shape};
use parsed::Parsed;

pub struct Decisions {
    conditions: Vec<Condition>,
    prepared: Conditions,
}

impl Decisions {
    pub fn new() -> Self {
        let conditions = conditions();
        Self {
            prepared: Conditions::new(&conditions),
            conditions,
        }
    }
}

fn number(text: &str) -> ExactNumber {
    ExactNumber::parse(text).expect("a number")
}

/// Returns conditions with every kind of test, at pointers of every kind.
fn conditions() -> Vec<Condition> {
    let texts = || ["score", "a\"b", "é😀\n", ""].map(|text| Literal::String(text.to_owned()));
    let numbers = || ["1", "-0.10", "9007199254740993"].map(|text| Literal::Number(number(text)));
    let tests = [
        Test::Exists(true),
        Test::Exists(false),
        Test::Null(true),
        Test::Null(false),
        Test::OneOf(texts().into_iter().chain([Literal::Bool(true)]).collect()),
        Test::OneOf(numbers().into()),
        Test::Prefix("sc".to_owned()),
        Test::Prefix("\u{1}\"".to_owned()),
        Test::Less(number("1.5")),
        Test::Greater(number("-1e-3")),
    ];
    let pointers = ["/k", "/a~1b", "/k/0", "/k/1/k", "/", "/k/k/k"];
    let pointers = pointers.map(|pointer| pointer.parse().expect("a pointer"));
    let at = |pointer: &hookbox_event::Pointer| {
        let pointer = pointer.clone();
        tests.clone().map(move |test| Condition {
            pointer: pointer.clone(),
            test,
        })
    };
    pointers.iter().flat_map(at).collect()
}

impl Target for Decisions {
    fn words(&self) -> Vec<&'static [u8]> {
        vec![
            b"{\"k\":",
            b"\"k\":1,",
            b"\"a/b\":",
            b"\"\\u006b\":",
            b"\"\":",
            b"[0,{\"k\":1}]",
            b"\"score\"",
            b"\"\\u0073core\"",
            b"\"a\\\"b\"",
            b"\\u0001\\\"",
            b"\\ud83d\\ude00",
            b"\\ud83d",
            b"null",
            b"true",
            b"-0.1",
            b"10e-1",
            b"9007199254740993.0",
            b"1.4999999999999999999999",
            b"e-3",
            b"000",
        ]
    }

    fn attempt(&mut self, input: &[u8]) -> Result<u64, String> {
        let holds = match decide_conditions(input, &self.prepared) {
            Ok(holds) => holds,
            Err(error) => return Ok(class(shape(&error.to_string()))),
        };
        let Some(parsed) = Parsed::of(input) else {
            // A string of the body contains half of a surrogate pair, which serde_json refuses.
            return Ok(class("not Unicode"));
        };
        for (condition, holds) in self.conditions.iter().zip(&holds) {
            // `satisfies` returns `None` if a number is too long to be compared without the
            // scanner's code.
            if parsed.satisfies(condition).is_some_and(|it| it != *holds) {
                return Err(format!(
                    "the scan decides {holds}, but the parsed body gives the opposite: {condition}"
                ));
            }
        }
        Ok(class(holds))
    }
}
