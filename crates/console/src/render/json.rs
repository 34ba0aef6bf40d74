//! Reports as JSON.

use serde::Serialize;

use super::terminal;

/// One JSON document that ends with a line break, and that a terminal may show.
pub fn json(report: &impl Serialize) -> String {
    // A report is made of strings, numbers, lists and named fields: nothing in it can fail.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_else(|_| "null".to_owned());
    text.push('\n');
    terminal::json(&text)
}
