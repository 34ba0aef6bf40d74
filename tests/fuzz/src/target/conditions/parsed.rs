//! A parsed body, on which conditions are decided without the code of the scanner.

use std::cmp::Ordering;
use std::fmt;

use hookbox_event::{Condition, ExactNumber, Literal, Test};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The most digits of a number that is written out without an exponent.
const DIGITS_MAX: usize = 500;

/// A JSON value with all members of its objects, and with the texts of its numbers.
pub enum Parsed {
    Null,
    Bool(bool),
    Number(String),
    String(String),
    Array(Vec<Parsed>),
    Object(Vec<(String, Parsed)>),
}

/// The members of an object in their order, also those with equal names.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members<'de>, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

impl Parsed {
    /// Parses a body; `None` if serde_json refuses it.
    pub fn of(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        Self::of_raw(serde_json::from_str::<&RawValue>(text).ok()?)
    }

    fn of_raw(raw: &RawValue) -> Option<Self> {
        let text = raw.get();
        Some(match text.as_bytes().first()? {
            b'{' => {
                let members: Members<'_> = serde_json::from_str(text).ok()?;
                let members = members.0.into_iter();
                let members = members.map(|(name, raw)| Some((name, Self::of_raw(raw)?)));
                Parsed::Object(members.collect::<Option<_>>()?)
            }
            b'[' => {
                let values: Vec<&RawValue> = serde_json::from_str(text).ok()?;
                let values = values.into_iter().map(Self::of_raw);
                Parsed::Array(values.collect::<Option<_>>()?)
            }
            b'"' => Parsed::String(serde_json::from_str(text).ok()?),
            b'n' => Parsed::Null,
            b't' => Parsed::Bool(true),
            b'f' => Parsed::Bool(false),
            _ => Parsed::Number(text.to_owned()),
        })
    }

    /// Returns whether a condition holds; `None` if a number is too long to be written out.
    pub fn satisfies(&self, condition: &Condition) -> Option<bool> {
        let mut at = Some(self);
        for token in condition.pointer.tokens() {
            at = match at {
                Some(Parsed::Object(members)) => {
                    let mut named = members.iter().filter(|(name, _)| name == token);
                    let first = named.next();
                    if named.next().is_some() {
                        return Some(false);
                    }
                    first.map(|(_, value)| value)
                }
                // The pointers of this target name only these elements.
                Some(Parsed::Array(values)) => match token.as_str() {
                    "0" => values.first(),
                    "1" => values.get(1),
                    _ => None,
                },
                Some(_) | None => None,
            };
        }
        match at {
            Some(value) => value.passes(&condition.test),
            None => Some(condition.test == Test::Exists(false)),
        }
    }

    fn passes(&self, test: &Test) -> Option<bool> {
        Some(match test {
            Test::Exists(exists) => *exists,
            Test::Null(is_null) => *is_null == matches!(self, Parsed::Null),
            Test::OneOf(literals) => {
                let mut is_one = false;
                for literal in literals {
                    is_one |= self.is(literal)?;
                }
                is_one
            }
            Test::Prefix(prefix) => {
                let is_long = |text: &str| text.chars().count() >= prefix.chars().count();
                matches!(self, Parsed::String(text) if is_long(text)
                    && text.chars().zip(prefix.chars()).all(|(a, b)| a == b))
            }
            Test::Less(limit) => self.compare(limit)? == Some(Ordering::Less),
            Test::Greater(limit) => self.compare(limit)? == Some(Ordering::Greater),
        })
    }

    fn is(&self, literal: &Literal) -> Option<bool> {
        Some(match (literal, self) {
            (Literal::String(text), Parsed::String(found)) => text == found,
            (Literal::Bool(value), Parsed::Bool(found)) => value == found,
            (Literal::Number(number), value) => value.compare(number)? == Some(Ordering::Equal),
            (Literal::String(_) | Literal::Bool(_), _) => false,
        })
    }

    /// Compares this value with a number. Returns `Some(None)` if this value is not a number, and
    /// `None` if one of the numbers is too long to be written out.
    fn compare(&self, other: &ExactNumber) -> Option<Option<Ordering>> {
        let Parsed::Number(text) = self else {
            return Some(None);
        };
        let (this, other) = (WrittenOut::of(text)?, WrittenOut::of(other.as_str())?);
        Some(Some(this.compare(&other)))
    }
}

/// A number without an exponent: the digits before and after the decimal point.
struct WrittenOut {
    is_negative: bool,
    whole: String,
    fraction: String,
}

impl WrittenOut {
    fn of(text: &str) -> Option<Self> {
        let unsigned = text.trim_start_matches('-');
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let exponent: i64 = exponent.parse().ok()?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let (mut whole, mut fraction) = (whole.to_owned(), fraction.to_owned());
        let moved = usize::try_from(exponent.unsigned_abs()).ok()?;
        if moved + whole.len() + fraction.len() > DIGITS_MAX {
            return None;
        }
        for _ in 0..moved {
            if exponent > 0 {
                let digit = if fraction.is_empty() {
                    '0'
                } else {
                    fraction.remove(0)
                };
                whole.push(digit);
            } else {
                fraction.insert(0, whole.pop().unwrap_or('0'));
            }
        }
        Some(Self {
            is_negative: text.starts_with('-'),
            whole,
            fraction,
        })
    }

    fn compare(&self, other: &Self) -> Ordering {
        let whole = self.whole.len().max(other.whole.len());
        let fraction = self.fraction.len().max(other.fraction.len());
        let padded = |it: &Self| format!("{:0>whole$}{:0<fraction$}", it.whole, it.fraction);
        let (this, that) = (padded(self), padded(other));
        let is_zero = |digits: &str| digits.bytes().all(|digit| digit == b'0');
        if is_zero(&this) && is_zero(&that) {
            return Ordering::Equal;
        }
        match (
            self.is_negative && !is_zero(&this),
            other.is_negative && !is_zero(&that),
        ) {
            (false, false) => this.cmp(&that),
            (true, true) => that.cmp(&this),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}
