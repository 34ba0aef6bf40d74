//! The patterns of texts in the config file, and what a message says about a text that does not
//! match.

/// A duration: a number with its unit.
pub const DURATION: &str = r"^[0-9]+(\.[0-9]+)? ?(ms|s|min|h|d)$";

/// A size: a whole number with its unit.
pub const SIZE: &str = "^[0-9]+ ?(B|KiB|MiB)$";

/// The name of a source, a route or an environment.
pub const NAME: &str = "^[a-z0-9][a-z0-9_-]{0,62}$";

/// The name of an environment variable.
pub const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";

/// A JSON Pointer (RFC 6901) into a body.
pub const POINTER: &str = "^/";

/// Returns what a message says about a text that does not match `pattern`; `None` if the pattern is
/// not one of these.
pub fn wording(pattern: &str) -> Option<&'static str> {
    match pattern {
        DURATION => Some("the value must be a number and ms, s, min, h or d, such as \"5 s\""),
        SIZE => Some("the value must be a whole number and B, KiB or MiB, such as \"1 MiB\""),
        NAME => Some(
            "the value must be 1 to 63 characters of a-z, 0-9, '-' and '_', and start with a \
             letter or digit",
        ),
        VARIABLE => {
            Some("the value must be the name of an environment variable, not the secret itself")
        }
        POINTER => Some("the value must begin with '/', as a JSON Pointer does"),
        _ => None,
    }
}
