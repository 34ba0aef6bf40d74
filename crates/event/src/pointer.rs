//! JSON Pointers (RFC 6901), by which a config names fields of a body.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A path into a JSON document, such as `/event/type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pointer {
    tokens: Vec<String>,
}

/// The error for a text that is not a JSON Pointer, or that is the empty JSON Pointer, which leads
/// to the whole document.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPointer {
    /// The text is empty.
    #[error(
        "the empty JSON Pointer leads to the whole body; write '/' and the name of a part of it"
    )]
    Whole,
    /// The text is not a JSON Pointer.
    #[error(
        "{0:?} is not a JSON Pointer: write '/' before each name, '~1' for '/' and '~0' for '~'"
    )]
    Malformed(String),
}

impl Pointer {
    /// Returns the names on the path, in which the escapes `~0` and `~1` are resolved.
    pub fn tokens(&self) -> &[String] {
        &self.tokens
    }

    /// Returns the pointer with only the first `names` names of the path; `None` if `names` is 0,
    /// because a pointer without names leads to the whole document.
    pub fn beginning(&self, names: usize) -> Option<Self> {
        let tokens: Vec<String> = self.tokens.iter().take(names).cloned().collect();
        (!tokens.is_empty()).then_some(Self { tokens })
    }

    /// Returns the index of the array element that a name on a path can mean; `None` if the name is
    /// not an index (RFC 6901 §4: digits without leading zeros).
    pub fn element_index(name: &str) -> Option<usize> {
        let is_digits = name.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain = is_digits && (name == "0" || !name.starts_with('0'));
        is_plain.then(|| name.parse().ok()).flatten()
    }
}

impl FromStr for Pointer {
    type Err = InvalidPointer;

    fn from_str(text: &str) -> Result<Self, InvalidPointer> {
        if text.is_empty() {
            return Err(InvalidPointer::Whole);
        }
        let invalid = || InvalidPointer::Malformed(text.to_owned());
        let path = text.strip_prefix('/').ok_or_else(invalid)?;
        let token = |raw: &str| {
            // RFC 6901 §4: `~1` is replaced first, then `~0`. Any other use of `~` is an error.
            let loose = raw.replace("~0", "").replace("~1", "");
            if loose.contains('~') {
                return Err(invalid());
            }
            Ok(raw.replace("~1", "/").replace("~0", "~"))
        };
        Ok(Self {
            tokens: path.split('/').map(token).collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<String> for Pointer {
    type Error = InvalidPointer;

    fn try_from(text: String) -> Result<Self, InvalidPointer> {
        text.parse()
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> String {
        pointer.to_string()
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for token in &self.tokens {
            write!(f, "/{}", token.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_read_and_written() {
        let pointer: Pointer = "/a~1b/~0c//d".parse().expect("the pointer must be valid");
        assert_eq!(pointer.tokens(), ["a/b", "~c", "", "d"]);
        assert_eq!(pointer.to_string(), "/a~1b/~0c//d");
        for bad in ["", "a", "/~", "/~2"] {
            assert!(bad.parse::<Pointer>().is_err(), "{bad:?}");
        }
        let whole = "".parse::<Pointer>();
        assert_eq!(whole, Err(InvalidPointer::Whole));
    }

    #[test]
    fn an_index_has_digits_without_leading_zeros() {
        for (name, index) in [
            ("0", Some(0)),
            ("1", Some(1)),
            ("10", Some(10)),
            ("", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            ("-1", None),
            ("1 ", None),
            ("a", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(Pointer::element_index(name), index, "{name:?}");
        }
    }

    #[test]
    fn a_pointer_begins_with_its_first_names() {
        let pointer: Pointer = "/a~1b/c/d".parse().expect("the pointer must be valid");
        let beginning = |names| pointer.beginning(names).map(|it| it.to_string());
        assert_eq!(beginning(0), None);
        assert_eq!(beginning(2).as_deref(), Some("/a~1b/c"));
        assert_eq!(beginning(9).as_deref(), Some("/a~1b/c/d"));
    }
}
