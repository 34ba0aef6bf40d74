//! Checks the conditions of a route (`where`).

use hookbox_event::{Condition, ExactNumber, Literal, Pointer, Test};
use serde_json::{Number, Value};

use super::file::condition as file;
use super::place::Places;

/// The maximum number of conditions of a route. Each condition costs time for every event of the
/// route's sources, whatever the topic of the event.
const CONDITIONS_MAX: usize = 16;

/// The maximum length of a pointer in bytes. A long pointer costs time, because its names are
/// compared with the keys of every body.
const POINTER_BYTES_MAX: usize = 512;

/// The maximum number of values in the list of a condition. A long list costs time, because the
/// value in a body is compared with its values one after another.
const VALUES_MAX: usize = 100;

/// The maximum length in bytes of a text in a condition.
const TEXT_BYTES_MAX: usize = 1024;

/// Checks the conditions of a route, and records their mistakes. Conditions that cannot be parsed
/// are not returned. `at` is the JSON Pointer to the route in the config.
pub fn check(at: &str, conditions: &[file::Condition], places: &mut Places) -> Vec<Condition> {
    let at = format!("{at}/where");
    if conditions.len() > CONDITIONS_MAX {
        places.mistake(
            &at,
            "a route has at most 16 conditions, because each is decided for every event of its \
             sources; finer decisions belong in the handler",
        );
    }
    let conditions = conditions.iter().enumerate();
    conditions
        .filter_map(|(index, condition)| one(&format!("{at}/{index}"), condition, places))
        .collect()
}

fn one(at: &str, condition: &file::Condition, places: &mut Places) -> Option<Condition> {
    let pointer = pointer(&format!("{at}/pointer"), &condition.pointer, places);
    let test = test(at, condition, places);
    Some(Condition {
        pointer: pointer?,
        test: test?,
    })
}

/// Parses a JSON Pointer to a value in the body of events, and checks its limits.
pub fn pointer(at: &str, text: &str, places: &mut Places) -> Option<Pointer> {
    let pointer: Pointer = places.take(at, text.parse())?;
    if text.len() > POINTER_BYTES_MAX {
        places.mistake(
            at,
            "a pointer has at most 512 bytes, because its names are compared with the keys of \
             every body",
        );
    } else if pointer.tokens().len() > Condition::DEPTH_MAX {
        let depth = Condition::DEPTH_MAX;
        places.mistake(
            at,
            format!("a pointer has at most {depth} names, because no body is nested deeper"),
        );
    }
    Some(pointer)
}

/// Returns what a condition demands of the value at its `pointer`: the one other key of the
/// condition, such as `equals`, with the value of that key.
fn test(at: &str, condition: &file::Condition, places: &mut Places) -> Option<Test> {
    let at_key = |key: &str| format!("{at}/{key}");
    let mut tests = Vec::new();
    if let Some(value) = &condition.equals {
        let value = literal(&at_key("equals"), value, places);
        tests.push(value.map(|value| Test::OneOf(vec![value])));
    }
    if let Some(values) = &condition.one_of {
        tests.push(one_of(&at_key("in"), values, places));
    }
    tests.extend(condition.exists.map(|exists| Some(Test::Exists(exists))));
    tests.extend(condition.null.map(|is_null| Some(Test::Null(is_null))));
    if let Some(prefix) = &condition.prefix {
        tests.push(text(&at_key("prefix"), prefix, places).map(Test::Prefix));
    }
    if let Some(limit) = &condition.less {
        tests.push(number(&at_key("less"), limit, places).map(Test::Less));
    }
    if let Some(limit) = &condition.greater {
        tests.push(number(&at_key("greater"), limit, places).map(Test::Greater));
    }
    match <[_; 1]>::try_from(tests) {
        Ok([test]) => test,
        Err(_) => {
            places.mistake(
                at,
                "a condition needs exactly one of equals, in, exists, null, prefix, less and \
                 greater; to demand several things of a value, write several conditions",
            );
            None
        }
    }
}

fn one_of(at: &str, values: &[file::Scalar], places: &mut Places) -> Option<Test> {
    if values.is_empty() {
        places.mistake(
            at,
            "the list needs at least one value, because a condition with an empty list never holds",
        );
    } else if values.len() > VALUES_MAX {
        places.mistake(
            at,
            "the list has at most 100 values, because they are compared one after another",
        );
    }
    let values = values.iter().enumerate();
    let values = values.map(|(index, value)| literal(&format!("{at}/{index}"), value, places));
    let values: Vec<Option<Literal>> = values.collect();
    values.into_iter().collect::<Option<_>>().map(Test::OneOf)
}

fn literal(at: &str, value: &file::Scalar, places: &mut Places) -> Option<Literal> {
    match &value.0 {
        Value::String(value) => text(at, value, places).map(Literal::String),
        Value::Number(value) => number(at, value, places).map(Literal::Number),
        Value::Bool(value) => Some(Literal::Bool(*value)),
        // The config schema does not allow a null, an array or an object here.
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text(at: &str, text: &str, places: &mut Places) -> Option<String> {
    if text.len() > TEXT_BYTES_MAX {
        places.mistake(
            at,
            "the text has at most 1024 bytes, because it is compared with texts of every body",
        );
        return None;
    }
    Some(text.to_owned())
}

fn number(at: &str, number: &Number, places: &mut Places) -> Option<ExactNumber> {
    // A number with a fraction or an exponent is read from the text of the file, because `number`
    // is rounded to a 64-bit float.
    let text = places.float_text(at);
    let text = text.unwrap_or_else(|| number.to_string());
    places.take(at, ExactNumber::parse(&text))
}
