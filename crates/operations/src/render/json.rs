//! Formats reports as JSON.

use serde::Serialize;

use super::terminal;

/// Formats a report as one JSON document that ends with a line break and is safe to show on a
/// terminal.
pub fn json(report: &impl Serialize) -> String {
    // A report consists of strings, numbers, lists and named fields, so serializing it cannot fail.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_else(|_| "null".to_owned());
    text.push('\n');
    terminal::json(&text)
}

/// Formats a value as JSON on one line, for output that has one value on each line.
pub fn json_line(value: &impl Serialize) -> String {
    // As in [`json`], serializing cannot fail.
    let mut text = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
    text.push('\n');
    terminal::json(&text)
}
