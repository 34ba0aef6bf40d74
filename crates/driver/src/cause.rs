//! The cause in the detail of a dead letter: what stays the same when the same thing happens to
//! another event.
//!
//! What changes from event to event is replaced: numbers and byte offsets by `<n>`, moments by
//! `<time>`, ids by `<id>`, quoted values by `<value>`; lines of a source are left out. What names
//! the cause stays: words, pointers, the rule of a schema, quoted names of columns, constraints
//! and fields, and codes (`SQLSTATE 23505`, `status 503`, `(code: 787)`). What stands behind the
//! first line is not the cause.

mod scanner;
mod word;

use scanner::Scanner;

/// Longest cause. What is behind it depends on where a long detail was cut.
const CAUSE_CHARS_MAX: usize = 1_000;

/// What `storable` ends a text with that it has cut.
const CUT_MARK: &str = " … (cut, ";

/// The end of a long list of mistakes of the schema check.
const AND_MORE: &str = "and more";

/// The cause in a detail. Applied again, it changes nothing.
///
/// The ids of groups are made of it: a change here gives stored dead letters other groups, so it
/// needs a migration that has them grouped again.
pub fn cause(detail: &str) -> String {
    let whole = detail
        .rsplit_once(CUT_MARK)
        .map_or(detail, |(kept, _)| kept);
    let scanned = Scanner::new(whole).scan();
    let cause = without_repetition(headline(&scanned).to_owned());
    cause.chars().take(CAUSE_CHARS_MAX).collect()
}

/// The first line. One that ends with a colon only announces the next.
fn headline(text: &str) -> &str {
    let ends = text.match_indices('\n').map(|(end, _)| &text[..end]);
    let mut lines = ends.filter(|line| !line.trim_end().ends_with(':'));
    lines.next().unwrap_or(text)
}

/// A list of values is one value, and a mistake that is made twice is one mistake.
fn without_repetition(mut text: String) -> String {
    for (many, one) in [
        ("\"<value>\", \"<value>\"", "\"<value>\""),
        ("'<value>', '<value>'", "'<value>'"),
        ("<n>, <n>", "<n>"),
        ("<id>, <id>", "<id>"),
    ] {
        while text.contains(many) {
            text = text.replace(many, one);
        }
    }
    if !text.contains("; ") {
        return text;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split("; ") {
        if part != AND_MORE && !parts.contains(&part) {
            parts.push(part);
        }
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests;
