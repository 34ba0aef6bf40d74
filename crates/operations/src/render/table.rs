//! Formats tables with aligned columns, and text that is safe to print.

use std::fmt::Write as _;

pub(super) use super::terminal::line as safe;

/// How many characters of a cell are shown at most. An error can be long; a list shows its
/// beginning, and `show` shows all of it.
const CELL_CHARS_MAX: usize = 100;

/// A table. Its lines are formatted when all rows are known, because the rows determine the widths
/// of the columns.
pub(super) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

/// The side on which a column is aligned.
#[derive(Clone, Copy)]
pub(super) enum Align {
    /// The left side, for text.
    Left,
    /// The right side, for numbers.
    Right,
}

impl Table {
    pub(super) fn new(columns: &[(&'static str, Align)]) -> Self {
        Self {
            columns: columns.to_vec(),
            rows: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows
            .push(cells.into_iter().map(|cell| cut(&cell)).collect());
    }

    pub(super) fn write(&self, indent: &str) -> String {
        let titles: Vec<String> = self.columns.iter().map(|(t, _)| (*t).to_owned()).collect();
        let lines = || std::iter::once(&titles).chain(&self.rows);
        let width = |column: usize| {
            let cells = lines().filter_map(|line| line.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for line in lines() {
            let mut written = indent.to_owned();
            for ((cell, width), (_, align)) in line.iter().zip(&widths).zip(&self.columns) {
                let padding = " ".repeat(width - cell.chars().count());
                let _ = match align {
                    Align::Left => write!(written, "{cell}{padding}  "),
                    Align::Right => write!(written, "{padding}{cell}  "),
                };
            }
            text.push_str(written.trim_end());
            text.push('\n');
        }
        text
    }
}

fn cut(cell: &str) -> String {
    let cell = safe(cell);
    match cell.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &cell[..end]),
        None => cell,
    }
}

/// Formats a text of several lines, each indented and safe to print on a terminal.
pub(super) fn safe_lines(text: &str, indent: &str) -> String {
    text.lines()
        .map(|line| format!("{indent}{}\n", safe(&line.replace('\t', "    "))))
        .collect()
}

/// Formats the line under a page that says how to get the next page; empty when there is none.
pub(super) fn next(cursor: Option<&str>) -> String {
    cursor.map_or_else(String::new, |cursor| {
        format!("next: --after {}\n", safe(cursor))
    })
}

/// Formats a number; `?` when it is unknown.
pub(super) fn known(number: Option<u64>) -> String {
    number.map_or_else(|| "?".to_owned(), |number| number.to_string())
}

/// Formats a number with its noun, such as "1 event" or "2 events".
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Returns the first twelve digits of an id, which suffice to distinguish the ids in one report.
pub(super) fn short(id: &str) -> String {
    id.chars().take(12).collect()
}
