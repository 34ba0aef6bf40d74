//! Conditions on the values of a body, by which a route selects its events. The scanner decides
//! them while it passes over the body, so they need no second pass and no copy of a value.

use std::cmp::Ordering;
use std::fmt;

use super::DEPTH_MAX;
use super::compare::Number;
use super::number::number_end;
use crate::Pointer;

/// The longest text of a number in a condition, in characters. It is limited because the number is
/// compared digit by digit with numbers of bodies.
const NUMBER_LENGTH_MAX: usize = 100;

/// The largest exponent of a number in a condition; the smallest is the negative of it. Within this
/// range, the comparison with a number of a body is exact, whatever the exponent of the body's
/// number is.
const EXPONENT_MAX: u32 = 999;

/// A condition on the value to which a pointer leads.
///
/// No condition holds for a body that is not JSON, nor if the pointer leads through a key that
/// occurs twice in its object, because two parsers may see different values there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The pointer to the value in the body.
    pub pointer: Pointer,
    /// What must be true of the value.
    pub test: Test,
}

/// What must be true of a value. If the body has no value at the pointer, only [`Test::Exists`]
/// with `false` passes. A comparison with a value of another type fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// `true`: the body has a value at the pointer, which may be `null`, an object or an array.
    /// `false`: the body has no value there.
    Exists(bool),
    /// `true`: the value is `null`. `false`: there is a value, and it is not `null`.
    Null(bool),
    /// The value is equal to one of these.
    OneOf(Vec<Literal>),
    /// The value is a string that begins with this text.
    Prefix(String),
    /// The value is a number less than this one.
    Less(ExactNumber),
    /// The value is a number greater than this one.
    Greater(ExactNumber),
}

/// A value that a condition compares with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// A text. It is equal to a string with the same characters, however the body escapes them.
    String(String),
    /// A number. It is equal to every number with the same value: `1`, `1.0` and `1e0`.
    Number(ExactNumber),
    /// `true` or `false`.
    Bool(bool),
}

/// The JSON text of a number that is compared by its exact value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExactNumber(String);

/// The error for a text that cannot be the number of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a number has at most {NUMBER_LENGTH_MAX} characters, and an exponent from -{EXPONENT_MAX} to \
     {EXPONENT_MAX}, so that it can be compared exactly with any number of a body"
)]
pub struct InvalidNumber;

impl ExactNumber {
    /// Reads the text of a JSON number.
    pub fn parse(text: &str) -> Result<Self, InvalidNumber> {
        let is_number = number_end(text.as_bytes(), 0) == Ok(text.len());
        if !is_number || text.len() > NUMBER_LENGTH_MAX || exponent(text) > EXPONENT_MAX {
            return Err(InvalidNumber);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the number as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares the values of two numbers.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.number().compare(&other.number())
    }

    pub(super) fn number(&self) -> Number<'_> {
        Number::of(self.0.as_bytes())
    }
}

/// Returns the exponent of a number without its sign; the largest u32 if it is larger.
fn exponent(text: &str) -> u32 {
    match text.split_once(['e', 'E']) {
        Some((_, exponent)) => exponent
            .trim_start_matches(['+', '-'])
            .parse()
            .unwrap_or(u32::MAX),
        None => 0,
    }
}

impl Condition {
    /// The most names in a pointer. No body is nested deeper, so a longer pointer leads nowhere.
    pub const DEPTH_MAX: usize = DEPTH_MAX;

    /// Returns whether two conditions on the same pointer plainly exclude each other: no value can
    /// pass both tests. A result of `false` does not mean that a body can satisfy both.
    pub fn excludes(&self, other: &Self) -> bool {
        self.pointer == other.pointer && self.test.excludes(&other.test)
    }
}

impl Test {
    fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Test::Exists(this), Test::Exists(other)) => this != other,
            (Test::OneOf(these), Test::OneOf(others)) => {
                let is_shared = |one: &Literal| others.iter().any(|other| one.is_equal(other));
                !these.iter().any(is_shared)
            }
            (Test::Exists(_) | Test::Null(_) | Test::OneOf(_), _)
            | (Test::Prefix(_) | Test::Less(_) | Test::Greater(_), _) => false,
        }
    }
}

impl Literal {
    fn is_equal(&self, other: &Self) -> bool {
        match (self, other) {
            (Literal::Number(this), Literal::Number(other)) => {
                this.number().compare(&other.number()).is_eq()
            }
            (Literal::String(_) | Literal::Bool(_) | Literal::Number(_), _) => self == other,
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pointer, self.test)
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Test::Exists(true) => f.write_str("exists"),
            Test::Exists(false) => f.write_str("does not exist"),
            Test::Null(true) => f.write_str("is null"),
            Test::Null(false) => f.write_str("exists and is not null"),
            Test::OneOf(values) => match &values[..] {
                [value] => write!(f, "equals {value}"),
                values => {
                    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                    write!(f, "is one of {}", values.join(", "))
                }
            },
            Test::Prefix(text) => write!(f, "begins with {text:?}"),
            Test::Less(number) => write!(f, "is less than {}", number.as_str()),
            Test::Greater(number) => write!(f, "is greater than {}", number.as_str()),
        }
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Literal::String(text) => write!(f, "{text:?}"),
            Literal::Number(number) => f.write_str(number.as_str()),
            Literal::Bool(value) => write!(f, "{value}"),
        }
    }
}
