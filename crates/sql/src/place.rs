//! A place in a text, as an editor shows it.

use std::fmt;

/// A place in a text: its line and column, both counted from 1. The column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// Returns the place of a byte of a text; the end of the text if the offset lies beyond it.
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
