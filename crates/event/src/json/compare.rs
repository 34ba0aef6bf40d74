//! Compares JSON numbers by their exact values.

use std::cmp::Ordering;

/// A JSON number, taken apart. It borrows the text of the number, and nothing is rounded or copied,
/// so a number of a million digits is compared without a second copy of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    is_negative: bool,
    /// The digits before the decimal point, without leading zeros.
    whole: &'a [u8],
    /// The digits after the decimal point. If `whole` is empty, they have no leading zeros.
    fraction: &'a [u8],
    /// The number is `0.d₁d₂d₃…` times ten to this power, where `d₁` is the first digit of `whole`
    /// and `fraction`. An exponent beyond an i64 is replaced by the largest or smallest i64.
    power: i64,
}

impl<'a> Number<'a> {
    /// Takes the text of a number apart. The text must have the grammar of JSON.
    pub fn of(text: &'a [u8]) -> Self {
        let (is_negative, text) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = split_at(text, |byte| matches!(byte, b'e' | b'E'));
        let (whole, fraction) = split_at(mantissa, |byte| byte == b'.');
        let whole = without_zeros(whole);
        let significant = if whole.is_empty() {
            without_zeros(fraction)
        } else {
            fraction
        };
        // The number of digits of a text in memory always fits an i64.
        let places = |digits: usize| i64::try_from(digits).unwrap_or(i64::MAX);
        let zeros = places(fraction.len() - significant.len());
        Self {
            is_negative,
            whole,
            fraction: significant,
            power: exponent_of(exponent).saturating_add(places(whole.len()) - zeros),
        }
    }

    /// Compares the values of two numbers: `1`, `1.0` and `10e-1` are equal. The result is exact
    /// unless both exponents are beyond an i64.
    pub fn compare(&self, other: &Self) -> Ordering {
        let sign = self.sign();
        let by_sign = sign.cmp(&other.sign());
        if by_sign.is_ne() || sign == 0 {
            return by_sign;
        }
        let by_size = self
            .power
            .cmp(&other.power)
            .then_with(|| self.compare_digits(other));
        if sign < 0 { by_size.reverse() } else { by_size }
    }

    fn compare_digits(&self, other: &Self) -> Ordering {
        let (mut these, mut others) = (self.digits(), other.digits());
        loop {
            let (this, other) = (these.next(), others.next());
            if this.is_none() && other.is_none() {
                return Ordering::Equal;
            }
            // Zeros at the end do not change the value.
            let by_digit = this.unwrap_or(b'0').cmp(&other.unwrap_or(b'0'));
            if by_digit.is_ne() {
                return by_digit;
            }
        }
    }

    fn digits(&self) -> impl Iterator<Item = u8> {
        self.whole.iter().chain(self.fraction).copied()
    }

    fn sign(&self) -> i8 {
        match (
            self.whole.is_empty() && self.fraction.is_empty(),
            self.is_negative,
        ) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

/// Splits a text before and after the first byte that `is_separator` accepts. The second part is
/// empty if there is no such byte.
fn split_at(text: &[u8], is_separator: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| is_separator(*byte)) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &[]),
    }
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

/// Returns the value of an exponent, which may have a sign and may be empty. A value beyond an i64
/// becomes the largest or smallest i64.
fn exponent_of(text: &[u8]) -> i64 {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    digits.iter().fold(0_i64, |value, digit| {
        let digit = i64::from(digit - b'0');
        let value = value.saturating_mul(10);
        if is_negative {
            value.saturating_sub(digit)
        } else {
            value.saturating_add(digit)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(a: &str, b: &str) -> Ordering {
        Number::of(a.as_bytes()).compare(&Number::of(b.as_bytes()))
    }

    #[test]
    fn numbers_with_one_value_are_equal() {
        for group in [
            &["0", "-0", "0.0", "-0.00e7", "0e-99999999999999999999"][..],
            &["1", "1.0", "1e0", "10e-1", "0.1e1", "0.001E+3", "1.000e+00"],
            &["-12.5", "-125e-1", "-1.25e1", "-0.0125e3"],
            &["100", "1e2", "0.0001e6"],
            &[
                "9007199254740993",
                "9007199254740993.0",
                "9007199254740993000e-3",
            ],
            &["0.1", "0.10", "1e-1", "0.01e1"],
        ] {
            for a in group {
                for b in group {
                    assert_eq!(compare(a, b), Ordering::Equal, "{a} and {b}");
                }
            }
        }
    }

    #[test]
    fn numbers_are_in_the_order_of_their_values() {
        let ascending = [
            "-1e99999999999999999999",
            "-1e400",
            "-9007199254740993",
            "-9007199254740992",
            "-10",
            "-9.99",
            "-0.1",
            "-0.01e-400",
            "0",
            "1e-99999999999999999999",
            "1e-400",
            "0.0999999999999999999999",
            "0.1",
            "0.10000000000000000001",
            "0.5",
            "1",
            "1.0000000000000000000001",
            "2",
            "9",
            "9.99",
            "10",
            "123456789012345678901234567890",
            "123456789012345678901234567891",
            "1e400",
            "1e99999999999999999999",
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} and {b}");
            }
        }
    }

    #[test]
    fn a_long_number_is_compared_by_its_last_digit() {
        let zeros = "0".repeat(100_000);
        assert_eq!(compare(&format!("1.{zeros}"), "1"), Ordering::Equal);
        assert_eq!(compare(&format!("1.{zeros}1"), "1"), Ordering::Greater);
        assert_eq!(compare(&format!("-1.{zeros}1"), "-1"), Ordering::Less);
        let small = format!("0.{zeros}1");
        assert_eq!(compare(&small, "1e-100001"), Ordering::Equal);
        assert_eq!(compare(&format!("1{zeros}e-100000"), "1"), Ordering::Equal);
    }
}
