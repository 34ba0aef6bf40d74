//! A place in a text, as an editor shows it.

use std::fmt;

/// A place in a text: its line and its column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The number of the line; the first line is 1.
    pub line: usize,
    /// The number of the character in its line; the first character is 1.
    pub column: usize,
}

impl Place {
    /// Returns the place at an offset in bytes from the beginning of a text. An offset beyond the
    /// text means the end of the text.
    pub fn of(text: &str, offset: usize) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let (line, rest) = match before.rfind('\n') {
            Some(newline) => (
                before.matches('\n').count() + 1,
                before.get(newline + 1..).unwrap_or_default(),
            ),
            None => (1, before),
        };
        Self {
            line,
            column: rest.chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_characters_are_counted_from_one() {
        let text = "sélect 1\n, 2";
        for (offset, line, column) in [(0, 1, 1), (3, 1, 3), (10, 2, 1), (13, 2, 4), (99, 2, 4)] {
            let place = Place { line, column };
            assert_eq!(Place::of(text, offset), place, "offset {offset}");
        }
    }
}
