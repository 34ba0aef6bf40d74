//! Says what a setting expects in the words of TOML. serde names the types of Rust, which mean
//! nothing to the author of a config.

/// The words with which serde begins the name of a type.
const TYPES: [&str; 7] = [
    "struct ",
    "tuple struct ",
    "unit struct ",
    "enum ",
    "tuple variant ",
    "internally tagged enum ",
    "adjacently tagged enum ",
];

/// Returns what serde expects, in the words of TOML.
pub(super) fn of_toml(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a map" => "a table",
        "a sequence" => "a list",
        "path string" => "a string",
        other if other.starts_with("a nonzero ") => "a whole number that is not 0",
        other if TYPES.iter().any(|one| other.starts_with(one)) => "a value of another form",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_type_of_rust_is_shown() {
        for (expected, words) in [
            ("struct Statements", "a value of another form"),
            ("enum Kind", "a value of another form"),
            ("a map", "a table"),
            ("a nonzero u32", "a whole number that is not 0"),
            ("a string", "a string"),
        ] {
            assert_eq!(of_toml(expected), words);
        }
    }
}
