//! Converts JSON numbers to integers exactly.

use super::decimal::Decimal;

/// Returns the integer that the text of a JSON number stands for, however it is written: `712`,
/// `712.0` and `7.12e2` are the same integer (JSON Schema Validation §6.1.1). Returns `None` if the
/// number has a fraction, if it does not fit 64 bits, or if the text is not a number.
pub fn exact_integer(text: &str) -> Option<i64> {
    i64::try_from(Decimal::parse(text)?.to_whole()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_has_one_meaning_however_it_is_written() {
        for text in [
            "712", "712.0", "712.000", "7.12e2", "7.12E+2", "71200e-2", "0.712e3", "71.200e1",
        ] {
            assert_eq!(exact_integer(text), Some(712), "{text}");
        }
        for (text, value) in [
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0),
            ("0e400", 0),
            ("0.000e-99999999999999999999", 0),
            ("-1.0", -1),
            ("1e18", 1_000_000_000_000_000_000),
            ("1000000000000000000000e-3", 1_000_000_000_000_000_000),
        ] {
            assert_eq!(exact_integer(text), Some(value), "{text}");
        }
    }

    #[test]
    fn large_numbers_are_exact() {
        // A 64-bit float cannot represent 9007199254740993, so this must not be computed with
        // floats.
        assert_eq!(
            exact_integer("9007199254740993.0"),
            Some(9_007_199_254_740_993)
        );
        assert_eq!(exact_integer("9223372036854775807.0"), Some(i64::MAX));
        assert_eq!(exact_integer("9.223372036854775807e18"), Some(i64::MAX));
        assert_eq!(exact_integer("-9223372036854775808.00"), Some(i64::MIN));
        for text in [
            "9223372036854775808",
            "-9223372036854775809",
            "1e19",
            "1e400",
        ] {
            assert_eq!(exact_integer(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_integer_of_64_bits_gives_none() {
        for text in [
            "1.5",
            "7121e-1",
            "712.00000000000000000000001",
            "1e-400",
            "1e99999999999999999999",
            "1e-99999999999999999999",
            "1e9223372036854775807",
            "",
            "-",
            ".5",
            "e2",
            "1e",
            "+1",
            "0x10",
            "١",
            "true",
        ] {
            assert_eq!(exact_integer(text), None, "{text}");
        }
        let long = "9".repeat(1_000_000);
        assert_eq!(exact_integer(&long), None);
        let zeros = format!("712.{}", "0".repeat(1_000_000));
        assert_eq!(exact_integer(&zeros), Some(712));
    }
}
