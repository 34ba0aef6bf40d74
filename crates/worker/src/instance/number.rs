//! A number of a body, as the schema checker reads it.

use std::borrow::Cow;

use hookbox_event::Decimal;
use jsonschema::json::{JsonNumber, cmp};
use serde_json::Value;

/// Floats with a magnitude below this one can have a fraction; larger ones are whole numbers.
const FRACTIONS_BELOW: f64 = 4_503_599_627_370_496.0;

/// One number, with the text it was read from.
#[derive(Debug, PartialEq)]
pub(crate) struct Number {
    text: String,
    /// The number itself, if it is whole and fits into 64 bits. Otherwise this is the nearest
    /// float, and for a number with a fraction the nearest float that also has a fraction, if
    /// there is one.
    nearest: serde_json::Number,
    is_whole: bool,
    /// Whether the magnitude of the number is larger than that of every float.
    is_beyond: bool,
}

impl Number {
    /// Parses the text of a number.
    pub fn of(text: &str) -> Self {
        if let Ok(whole) = text.parse::<i64>() {
            return Self {
                text: text.to_owned(),
                nearest: whole.into(),
                is_whole: true,
                is_beyond: false,
            };
        }
        let decimal = Decimal::parse(text);
        let is_whole = decimal.as_ref().is_some_and(Decimal::is_whole);
        let whole = decimal.as_ref().and_then(Decimal::to_whole);
        let signed = whole.and_then(|whole| i64::try_from(whole).ok());
        let unsigned = whole.and_then(|whole| u64::try_from(whole).ok());
        let float = nearest_float(text, decimal.as_ref());
        let nearest = signed
            .map(serde_json::Number::from)
            .or(unsigned.map(serde_json::Number::from))
            .or_else(|| serde_json::Number::from_f64(float));
        let is_beyond = nearest.is_none();
        let furthest = if float < 0.0 { f64::MIN } else { f64::MAX };
        Self {
            text: text.to_owned(),
            nearest: nearest
                .or_else(|| serde_json::Number::from_f64(furthest))
                .unwrap_or_else(|| 0.into()),
            is_whole,
            is_beyond,
        }
    }

    /// Returns the nearest number that serde_json can hold.
    pub fn nearest(&self) -> &serde_json::Number {
        &self.nearest
    }

    /// Returns whether the number equals a number of a schema.
    pub fn equals(&self, expected: &serde_json::Number) -> bool {
        let has_fraction = expected.as_f64().is_some_and(|it| it.fract() != 0.0);
        if self.is_beyond || self.is_whole == has_fraction {
            return false;
        }
        let (own, expected) = (self.nearest.clone(), expected.clone());
        cmp::equal(&Value::Number(own), &Value::Number(expected))
    }
}

/// Returns the nearest float. For a number with a fraction, it returns the nearest float that also
/// has a fraction, if there is one. With a whole float, `multipleOf`, `const` and the bounds would
/// treat the number as whole.
fn nearest_float(text: &str, decimal: Option<&Decimal>) -> f64 {
    let float: f64 = text.parse().unwrap_or_default();
    let Some(decimal) = decimal else { return float };
    if decimal.is_whole() || float.fract() != 0.0 || float.abs() >= FRACTIONS_BELOW {
        return float;
    }
    // The float was rounded to a whole number, so it is moved by one step to the side on which the
    // number is. The magnitude is below 2^52 here, so the integer part always fits into an i128.
    let before = decimal.integer_part().unwrap_or_default().unsigned_abs();
    let rounded_up = (before as f64) < float.abs();
    if rounded_up == float.is_sign_negative() {
        float.next_up()
    } else {
        float.next_down()
    }
}

impl JsonNumber for &Number {
    fn as_u64(&self) -> Option<u64> {
        self.nearest.as_u64()
    }

    fn as_i64(&self) -> Option<i64> {
        self.nearest.as_i64()
    }

    fn as_f64(&self) -> Option<f64> {
        self.nearest.as_f64().filter(|_| !self.is_beyond)
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.text)
    }

    fn to_number(&self) -> Cow<'_, serde_json::Number> {
        Cow::Borrowed(&self.nearest)
    }

    fn is_integer(&self) -> bool {
        self.is_whole
    }

    /// Returns whether the text of the number is that of an integer. The checker calls this for
    /// draft 4, in which the text decides: `1.0` is not an integer.
    fn is_written_as_integer(&self) -> bool {
        !self.text.contains(['.', 'e', 'E'])
    }
}
