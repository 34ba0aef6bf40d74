//! Escapes characters that a terminal would interpret instead of showing.

use std::fmt::Write as _;

pub use hookbox_event::is_unsafe;

/// Escapes the unsafe characters in one line of text for a terminal.
pub fn line(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

/// Escapes the unsafe characters in a JSON document without changing its meaning. serde_json has
/// already escaped the control characters below U+0020. The other unsafe characters occur only
/// inside strings, where JSON allows the same kind of escape.
pub fn json(document: &str) -> String {
    let mut safe = String::with_capacity(document.len());
    for c in document.chars() {
        // This line feed is between members of the document. Inside a string, it would be escaped
        // already.
        if c != '\n' && is_unsafe(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_the_same_without_what_a_terminal_obeys() {
        let text: String = ('\0'..='\u{2069}').chain(['🦀', '\u{10ffff}']).collect();
        let value = serde_json::json!({ text.as_str(): [text.as_str(), 1, null] });
        for document in [
            value.to_string(),
            serde_json::to_string_pretty(&value).unwrap(),
        ] {
            let safe = json(&document);
            let shown = safe.chars().filter(|c| *c != '\n');
            assert_eq!(shown.filter(|c| is_unsafe(*c)).count(), 0);
            let read: serde_json::Value = serde_json::from_str(&safe).unwrap();
            assert_eq!(read, value);
        }
        assert_eq!(json("\"a\u{9b}31m\u{202e}\""), r#""a\u009b31m\u202e""#);
    }

    #[test]
    fn a_line_shows_what_a_terminal_would_obey() {
        assert_eq!(line("a\u{9b}31m\u{202e}\n"), "a\\u{9b}31m\\u{202e}\\n");
        assert_eq!(line("Zürich, 5 €, 東京"), "Zürich, 5 €, 東京");
    }
}
