//! Finds the cause in the detail of a dead letter. The detail is the stored text of the error. The
//! cause is the part of the detail that stays the same when the same failure happens to another
//! event.
//!
//! What varies from event to event is replaced: numbers and byte offsets by `<n>`, moments by
//! `<time>`, ids by `<id>`, quoted values by `<value>`; line numbers of a source text are left out.
//! What names the cause stays: words, JSON pointers, the rule of a schema, quoted names of columns,
//! constraints and fields, and codes (`SQLSTATE 23505`, `status 503`, `(code: 787)`). Text after
//! the first line does not belong to the cause.

mod scanner;
mod word;

use scanner::Scanner;

/// The longest cause, in characters. A longer limit would be wrong, because a stored detail is cut
/// at a length in bytes: beyond this limit, the texts of equal failures could differ.
const CAUSE_CHARS_MAX: usize = 1_000;

/// The mark that `storable` puts at the end of a text that it has shortened.
const CUT_MARK: &str = " … (cut, ";

/// The text at the end of a long list of errors from the schema check.
const AND_MORE: &str = "and more";

/// Returns the cause in the detail of a dead letter. Applied to a cause, it changes nothing.
///
/// The ids of groups are digests of the cause. A change of this function therefore changes the
/// groups of stored dead letters, and needs a migration that has them grouped again.
pub fn cause(detail: &str) -> String {
    let whole = detail
        .rsplit_once(CUT_MARK)
        .map_or(detail, |(kept, _)| kept);
    let scanned = Scanner::new(whole).scan();
    let cause = without_repetition(headline(&scanned).to_owned());
    cause.chars().take(CAUSE_CHARS_MAX).collect()
}

/// Returns the first line of a detail. A line that ends with a colon only announces the next line,
/// so that line is included as well.
fn headline(text: &str) -> &str {
    let ends = text.match_indices('\n').map(|(end, _)| &text[..end]);
    let mut lines = ends.filter(|line| !line.trim_end().ends_with(':'));
    lines.next().unwrap_or(text)
}

/// Replaces a list of values by one value, and removes errors that repeat an earlier error.
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
