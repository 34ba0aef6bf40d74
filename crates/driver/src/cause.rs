//! Finds the cause in the detail of a dead letter. The detail is the stored text of the error. The
//! cause is the part of the detail that stays the same when the same failure happens to another
//! event.
//!
//! What varies from event to event is replaced: numbers and byte offsets by `<n>`, dates and times
//! by `<time>`, ids by `<id>`, and quoted values by `<value>`. Positions such as "at line 12" are
//! removed. What identifies the cause is kept: words, JSON pointers, the rule of a schema, the
//! quoted names of columns, constraints and fields, and codes (`SQLSTATE 23505`, `status 503`,
//! `answered 404`, `(code: 787)`). Text after the first line does not belong to the cause.

mod scanner;
mod word;

use scanner::Scanner;

/// The longest cause, in characters. Equal failures may have details that are cut at different
/// words. Their causes must not contain the cut, because then they would differ. So this limit is
/// well below the length at which a stored detail is cut: [`crate::STORABLE_MAX`], in bytes.
const CAUSE_CHARS_MAX: usize = 1_000;

/// The start of the mark that [`crate::storable`] writes at the end of a text that it has
/// shortened.
const CUT_MARK: &str = " … (cut, ";

/// What the schema check writes after the last error of a list that it has shortened.
const AND_MORE: &str = "and more";

/// Returns the cause in the detail of a dead letter. The cause of a text that is already a cause is
/// the same text.
///
/// The ids of dead-letter groups are digests of the cause. After a change of this function, stored
/// dead letters belong to other groups. So the change needs a migration that sets their
/// `grouped_at` to null: then hookbox groups them again.
pub fn cause(detail: &str) -> String {
    let whole = detail
        .rsplit_once(CUT_MARK)
        .map_or(detail, |(kept, _)| kept);
    let scanned = Scanner::new(whole).scan();
    let cause = without_repetition(headline(&scanned).to_owned());
    cause.chars().take(CAUSE_CHARS_MAX).collect()
}

/// Returns the first line of a detail. If this line ends with a colon, the next line belongs to it
/// and is included.
fn headline(text: &str) -> &str {
    let ends = text.match_indices('\n').map(|(end, _)| &text[..end]);
    let mut lines = ends.filter(|line| !line.trim_end().ends_with(':'));
    lines.next().unwrap_or(text)
}

/// Replaces a list of equal placeholders by one of them, and removes each error of a list that
/// repeats an earlier error.
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
