//! The exact value of a number in JSON text.

use std::num::IntErrorKind;

/// A JSON number as an exact decimal number: digits times a power of ten.
///
/// The value is never rounded. As a 64-bit float, `9007199254740993.0` would become another number,
/// and `712.00000000000000000001` would become an integer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    /// The digits without leading and trailing zeros; empty for zero.
    digits: String,
    /// The exponent: the number is `digits` times ten to this power. An exponent beyond an i64 is
    /// replaced by the largest or smallest i64. That changes no result, because no number with so
    /// large an exponent fits 128 bits, except zero.
    power: i64,
}

impl Decimal {
    /// Parses the text of a number; returns `None` if the text is not a JSON number.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        if whole.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let kept = all.trim_end_matches('0');
        // The number of digits of a text in memory always fits an i64, so `i64::MAX` is never used
        // here.
        let places = |digits: usize| i64::try_from(digits).unwrap_or(i64::MAX);
        let power = exponent_of(exponent)?
            .saturating_add(places(all.len() - kept.len()))
            .saturating_sub(places(fraction.len()));
        Some(Self {
            negative,
            digits: kept.trim_start_matches('0').to_owned(),
            power,
        })
    }

    /// Returns whether the number is an integer, however it is written and however large it is:
    /// `712`, `712.0` and `7.12e2` are the same integer (JSON Schema Validation §6.1.1).
    pub fn is_whole(&self) -> bool {
        self.digits.is_empty() || self.power >= 0
    }

    /// Returns the number as an integer; `None` if it has a fraction or does not fit 128 bits.
    pub fn to_whole(&self) -> Option<i128> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let power = 10_i128.checked_pow(u32::try_from(self.power).ok()?)?;
        let value = self.digits.parse::<i128>().ok()?.checked_mul(power)?;
        Some(self.signed(value))
    }

    /// Returns the number with its fraction cut off; `None` if the result does not fit 128 bits.
    pub fn integer_part(&self) -> Option<i128> {
        if self.is_whole() {
            return self.to_whole();
        }
        let behind = usize::try_from(self.power.unsigned_abs()).unwrap_or(usize::MAX);
        let before = self.digits.len().saturating_sub(behind);
        if before == 0 {
            return Some(0);
        }
        self.digits[..before]
            .parse()
            .ok()
            .map(|value| self.signed(value))
    }

    fn signed(&self, value: i128) -> i128 {
        if self.negative { -value } else { value }
    }
}

/// Parses the exponent of a number. A value beyond an i64 becomes the largest or smallest i64.
/// Returns `None` for a text that is not an integer.
fn exponent_of(text: &str) -> Option<i64> {
    match text.parse::<i64>() {
        Ok(exponent) => Some(exponent),
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow => Some(i64::MAX),
            IntErrorKind::NegOverflow => Some(i64::MIN),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_whole_by_its_value() {
        for text in [
            "0",
            "-0.0",
            "0e-99999999999999999999",
            "712.0",
            "7.12e2",
            "1000e-3",
            "9007199254740993.0",
            "18446744073709551616",
            "1e400",
            "1e99999999999999999999",
        ] {
            assert!(
                Decimal::parse(text)
                    .expect("the number must be valid")
                    .is_whole(),
                "{text}"
            );
        }
        for text in [
            "712.00000000000000000001",
            "7121e-1",
            "9007199254740993.5",
            "-0.5",
            "1e-400",
            "1e-99999999999999999999",
        ] {
            let number = Decimal::parse(text).expect("the number must be valid");
            assert!(!number.is_whole(), "{text}");
            assert_eq!(number.to_whole(), None, "{text}");
        }
        for text in ["", "-", ".5", "e2", "1e", "+1", "0x10", "١", "true"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_integer_part_is_cut_and_not_rounded() {
        for (text, part) in [
            ("712.99999999999999999999", Some(712)),
            ("-712.99999999999999999999", Some(-712)),
            ("7.125e2", Some(712)),
            ("0.00712", Some(0)),
            ("7.12e-99999999999999999999", Some(0)),
            ("18446744073709551617.5", Some(18_446_744_073_709_551_617)),
            ("7.12e2", Some(712)),
            ("1e400", None),
        ] {
            let number = Decimal::parse(text).expect("the number must be valid");
            assert_eq!(number.integer_part(), part, "{text}");
        }
    }
}
